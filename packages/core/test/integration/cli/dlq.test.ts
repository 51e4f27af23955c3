/** `lovage dlq`, `parked` and `loans` on the embedded broker and on Redis, as an operator types them. */
import { describe, expect, test } from "vitest";
import { RedisServer } from "../../support/redis-server.ts";
import { Project, type Finished } from "./project.ts";

const APP = `
import { existsSync } from "node:fs";
import { Lovage } from "lovage";

export const app = new Lovage("shop");
/** Fails until the file is there. */
export const mail = app.task({
  name: "shop.mail", deadLetter: { queue: "buried", task: "shop.bury" }, maxRetries: 1,
  retry: { maxRetries: 1, backoff: { kind: "fixed", delay: "1ms" } },
  run: (ctx, to: string) => {
    if (!existsSync("mended") && to !== "b") throw new RangeError("no mail for " + to);
    return "to " + to + " after " + ctx.retries;
  },
});
export const bury = app.task("shop.bury", (to: string, error: string) => to + ": " + error);
export const refuse = app.task({ name: "shop.refuse", run: (ctx) => ctx.reject("never") });
`;

interface Shop extends AsyncDisposable {
  readonly project: Project;
  lovage(...words: string[]): Promise<Finished>;
  /** The answer of a command in JSON; fails when the command does. */
  ask(...words: string[]): Promise<unknown>;
  /** Runs a worker for as long as `during` takes. */
  working(queues: string, during: () => Promise<void>): Promise<void>;
}

function openShop(broker: readonly string[]): Shop {
  const project = new Project({ "src/app.ts": APP });
  const common = ["-A", "src/app", ...broker];
  const lovage = async (...words: string[]): Promise<Finished> => await project.run([...common, ...words]);
  return {
    project,
    lovage,
    async ask(...words) {
      const finished = await lovage(...words, "--json");
      if (finished.code !== 0) throw new Error(`${words.join(" ")}: ${finished.stderr}`);
      return JSON.parse(finished.stdout) as unknown;
    },
    async working(queues, during) {
      const worker = project.start([...common, "worker", "-Q", queues]);
      await worker.says(/ ready\./);
      await during();
      worker.signal("SIGTERM");
      await worker.finished;
    },
    [Symbol.asyncDispose]: () => project[Symbol.asyncDispose](),
  };
}

describe.each(["embedded", "redis"])("%s", (kind) => {
  test("what failed is listed, shown, run again with its id and a clean count, edited, exported and discarded", async () => {
    await using server = kind === "redis" ? await RedisServer.start() : undefined;
    await using shop = openShop(server === undefined ? [] : ["-b", server.url, "--result-backend", server.url]);
    const send = async (task: string, args: string): Promise<string> => ((await shop.ask("call", task, "-a", args)) as { id: string }).id;
    const [first, second] = [await send("shop.mail", '["a"]'), await send("shop.mail", '["c"]')];
    const refused = await send("shop.refuse", "[]");
    await shop.working("celery", () => eventuallyDead(shop, 3));

    expect(await shop.ask("dlq", "count")).toEqual(
      expect.arrayContaining([
        { queue: "celery", reason: "retriesExhausted", count: 2 },
        { queue: "celery", reason: "rejected", count: 1 },
      ]),
    );
    expect(await shop.ask("dlq", "list", "--reason", "rejected")).toMatchObject([{ id: refused, task: "shop.refuse" }]);
    expect(await shop.ask("dlq", "list", "--task", "shop.mail", "--limit", "1")).toHaveLength(1);
    expect(await shop.ask("dlq", "list", "--older-than", "1h")).toEqual([]);
    expect(await shop.ask("dlq", "show", first)).toMatchObject({
      id: first,
      reason: "retriesExhausted",
      error: "RangeError: no mail for a",
      retries: 1,
      args: ["a"],
    });
    expect((await shop.lovage("dlq", "show", "nobody")).code).toBe(1);

    // The handler was called with the arguments and the error, through the queue that the task names.
    expect(await shop.ask("queues", "-Q", "buried")).toMatchObject([{ ready: 2 }]);
    await shop.working("buried", async () => eventually(async () => (await readyIn(shop, "buried")) === 0));

    expect((await shop.lovage("dlq", "retry")).code).toBe(2);
    expect(await shop.ask("dlq", "edit", second, "--args", '["b"]')).toEqual({ id: second, queue: "celery" });
    shop.project.write("mended", "");
    expect(await shop.ask("dlq", "retry", "--task", "shop.mail", "--rate", "100/s")).toEqual({ restored: 1 });
    await shop.working("celery", async () => {
      expect((await shop.lovage("result", first, "--timeout", "20")).stdout).toContain("to a after 0");
      expect((await shop.lovage("result", second, "--timeout", "20")).stdout).toContain("to b after 0");
    });

    const lines = (await shop.lovage("dlq", "export")).stdout.trim().split("\n");
    expect(lines).toHaveLength(1);
    const exported = JSON.parse(lines[0] ?? "") as { id: string; raw: string };
    expect(exported.id).toBe(refused);
    expect(JSON.parse(exported.raw)).toMatchObject({ headers: { task: "shop.refuse", id: refused } });
    expect((await shop.lovage("dlq", "purge")).code).toBe(2);
    expect(await shop.ask("dlq", "purge", "--reason", "poison")).toEqual({ purged: 0 });
    expect(await shop.ask("dlq", "purge", refused)).toEqual({ purged: 1 });
    expect(await shop.ask("dlq", "list")).toEqual([]);
  });

  test("what is parked is returned, and what nobody holds cannot be released", async () => {
    await using server = kind === "redis" ? await RedisServer.start() : undefined;
    await using shop = openShop(server === undefined ? [] : ["-b", server.url, "--result-backend", server.url]);
    await shop.ask("call", "shop.bury", "-a", '["x", "y"]', "--countdown", "1h");
    await shop.working("celery", async () => {
      await eventually(async () => ((await shop.ask("queues")) as { parked: number }[])[0]?.parked === 1);
      expect(await shop.ask("loans", "list")).toMatchObject([{ loans: 0 }]);
    });
    expect(await shop.ask("parked", "flush", "celery")).toEqual({ queue: "celery", flushed: 1 });
    expect(await shop.ask("queues")).toMatchObject([{ ready: 1, parked: 0 }]);
    expect(await shop.lovage("loans", "release", "nobody")).toMatchObject({ code: 1 });
    expect((await shop.lovage("loans", "release")).code).toBe(2);
  });
});

async function eventuallyDead(shop: Shop, count: number): Promise<void> {
  await eventually(async () => ((await shop.ask("queues")) as { dead: number }[])[0]?.dead === count);
}

async function readyIn(shop: Shop, queue: string): Promise<number | undefined> {
  return ((await shop.ask("queues", "-Q", queue)) as { ready: number }[])[0]?.ready;
}

async function eventually(isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 60; tries++) if (await isTrue()) return;
  throw new Error("it did not come true");
}
