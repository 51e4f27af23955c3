/** However a unique task ends, a real worker frees its lock; and while it has not ended, it does not. On the memory broker. */
import { Ignore, Lovage, Reject } from "lovage";
import { Worker } from "lovage/worker";
import { describe, expect, test } from "vitest";

const none = (): void => undefined;
const quiet = { debug: none, info: none, warn: none, error: none, child: () => quiet };
let stand = 0;

/** An app with a store of its own, and a worker that is not started. */
class Stand implements AsyncDisposable {
  readonly app: Lovage;
  readonly worker: Worker;

  constructor(settings: { readonly unknownTaskTtl?: number; readonly acceptContent?: readonly string[] } = {}) {
    const url = `memory://unique-ends-${++stand}`;
    this.app = new Lovage("ends", { brokerUrl: url, resultBackend: url, env: false, configFile: false, logger: quiet, ...settings });
    this.worker = new Worker(this.app, { concurrency: 4 });
  }

  async locks(): Promise<string[]> {
    return (await this.app.unique.list()).map(({ name, taskId }) => `${name} ${taskId}`);
  }

  async whenFree(): Promise<void> {
    await expect.poll(async () => await this.locks(), { timeout: 20_000 }).toEqual([]);
  }

  async letters(): Promise<number> {
    return (await (await this.app.broker()).depth(["celery"]))[0]?.dead ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker.stop();
    await this.app.close();
  }
}

const ENDS: readonly (readonly [string, string, () => unknown])[] = [
  ["success", "SUCCESS", () => 1],
  [
    "failure",
    "FAILURE",
    () => {
      throw new Error("no");
    },
  ],
  [
    "rejection",
    "FAILURE",
    () => {
      throw new Reject("no");
    },
  ],
  [
    "an ignored end",
    "PENDING",
    () => {
      throw new Ignore();
    },
  ],
];

describe.each([{ acksLate: true }, { acksLate: false }])("%o", ({ acksLate }) => {
  test.each(ENDS)("%s frees", async (_, state, run) => {
    await using on = new Stand();
    const { app } = on;
    let runs = 0;
    const task = app.task({
      name: "ends",
      acksLate,
      deadLetter: true,
      unique: { key: "k" },
      run: () => {
        runs += 1;
        return run();
      },
    });
    const first = await task.delay();
    expect((await task.delay()).id).toBe(first.id);
    await on.worker.start();
    await on.whenFree();
    expect([runs, await first.state()]).toEqual([1, state]);
    const next = await task.delay();
    expect([next.isDuplicate, next.id === first.id]).toEqual([false, false]);
    await on.whenFree();
    expect(runs).toBe(2);
  });

  test("a retry and a snooze hold on to it, and the last retry's failure frees", async () => {
    await using on = new Stand();
    const calls: (readonly [string, boolean])[] = [];
    const tries = on.app.task({
      name: "tries",
      acksLate,
      unique: { key: "k" },
      retry: { maxRetries: 2, backoff: { kind: "fixed", delay: "20ms" } },
      run: async (ctx): Promise<void> => {
        const call = await tries.delay();
        calls.push([call.id, call.isDuplicate]);
        if (calls.length === 1) ctx.snooze("20ms");
        throw new Error("no");
      },
    });
    const first = await tries.delay();
    await on.worker.start();
    await expect(first.get({ timeout: "20s" })).rejects.toThrow("no");
    await on.whenFree();
    expect(calls).toEqual(Array.from({ length: 4 }, () => [first.id, true])); // snoozed, and three attempts
  });

  test("what is revoked while it runs frees at its end", async () => {
    await using on = new Stand();
    let begin: () => void = none;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const long = on.app.task({
      name: "long",
      acksLate,
      unique: { key: "k" },
      run: async ({ signal }) => {
        begin();
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }));
      },
    });
    const first = await long.delay();
    await on.worker.start();
    await begun;
    await first.revoke();
    await on.whenFree();
    expect(await first.state()).toBe("REVOKED");
  });
});

test.each([{ countdown: 0 }, { countdown: 600 }])(
  "what is revoked before it starts frees, whenever it was due: %o",
  async ({ countdown }) => {
    await using on = new Stand();
    const task = on.app.task({ name: "never", unique: { key: "k" }, run: () => "never" });
    const first = await task.applyAsync([], null, { countdown });
    await first.revoke();
    await on.worker.start();
    await on.whenFree();
    expect(await first.state()).toBe("REVOKED");
    expect((await task.delay()).isDuplicate).toBe(false);
  },
);

test.each([{ deadLetter: false }, { deadLetter: { on: ["expired" as const] } }])("what has expired frees: %o", async ({ deadLetter }) => {
  await using on = new Stand();
  const task = on.app.task({ name: "stale", deadLetter, unique: { key: "k" }, run: () => "never" });
  const first = await task.applyAsync([], null, { expires: new Date(Date.now() - 60_000) });
  await on.worker.start();
  await on.whenFree();
  expect([await first.state(), await on.letters()]).toEqual(["REVOKED", deadLetter === false ? 0 : 1]);
});

test("a dead letter frees: of a failure that is kept, and of what cannot be read", async () => {
  await using on = new Stand();
  const fails = on.app.task({ name: "fails", deadLetter: true, unique: { key: "k" }, run: () => Promise.reject(new Error("no")) });
  on.app.task({ name: "reads", run: (_, value: unknown) => value });
  await fails.delay();
  await on.app.sendTask("reads", [1], undefined, { unique: { key: "k" }, serializer: "msgpack" });
  expect(await on.locks()).toHaveLength(2);
  await on.worker.start();
  await expect.poll(async () => await on.letters(), { timeout: 20_000 }).toBe(2);
  await on.whenFree();
});

test("a task that no worker knows frees with its dead letter", async () => {
  await using on = new Stand({ unknownTaskTtl: 0.01 });
  await on.app.sendTask("nobody.knows", [], undefined, { unique: { key: "k" } });
  await on.worker.start();
  await expect.poll(async () => await on.letters(), { timeout: 20_000 }).toBe(1);
  await on.whenFree();
});

test("a throttled task keeps its lock beyond its end, and no longer than its time", async () => {
  await using on = new Stand();
  const task = on.app.task({ name: "mail", unique: { key: "k", throttle: "1.5s" }, run: async (_, n: number) => n });
  const first = await task.delay(1);
  await on.worker.start();
  expect(await first.get({ timeout: "20s" })).toBe(1);
  const second = await task.delay(2);
  expect([second.isDuplicate, await second.get({ timeout: "20s" })]).toEqual([true, 1]);
  await on.whenFree();
  const third = await task.delay(3);
  expect([third.isDuplicate, await third.get({ timeout: "20s" })]).toEqual([false, 3]);
});

test("a task that is unique until it starts, and one that is debounced, hold nothing once they have run", async () => {
  await using on = new Stand();
  const seen: string[] = [];
  const task = on.app.task({
    name: "index",
    unique: { key: "k", until: "started" },
    run: async (_, n: number) => {
      if (n > 0) return n;
      const next = await task.delay(1);
      seen.push(`${next.isDuplicate}`);
      return await Promise.resolve(0);
    },
  });
  const debounced = on.app.task({ name: "debounced", unique: { key: "d", debounce: "1h" }, run: async (_, n: number) => n });
  await task.delay(0);
  const waits = await debounced.delay(1);
  expect((await debounced.delay(2)).id).toBe(waits.id);
  await on.worker.start();
  await (await on.app.broker()).delayed?.flush("celery");
  expect(await waits.get({ timeout: "20s" })).toBe(2);
  await on.whenFree();
  expect(seen).toEqual(["false"]);
});
