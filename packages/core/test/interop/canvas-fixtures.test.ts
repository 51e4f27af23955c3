/**
 * Every workflow that was recorded from Celery is run by a Python worker and by ours, from the recorded messages, round by
 * round: what each publishes for the next round, and how all tasks end, is the same.
 */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { isCeleryNew, python, PythonWorker } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

const folder = new URL("../golden/fixtures/celery/5.6.3/messages/", import.meta.url);

/** How many messages follow in each round. */
const FOLLOWING: Readonly<Record<string, readonly number[]>> = {
  chain3: [1, 1],
  chain3_link_error: [1],
  chain_as_task: [1],
  chain_to_chord: [2, 1],
  chord: [1],
  chord_link_error: [1],
  chord_of_chains: [1, 1],
  chunks: [],
  group3: [],
  group_saved: [],
  link: [1],
  link_error: [1],
  link_immutable: [1],
  map: [],
  starmap: [],
  stamped: [],
  stamped_chain: [1],
};

interface Recorded {
  readonly messages: readonly { readonly raw: string }[];
  readonly other_keys?: Readonly<Record<string, { readonly value: string }>>;
}

describe.skipIf(python === undefined || !isCeleryNew)("recorded workflows", () => {
  let server: RedisServer;
  let app: Lovage;
  let worker: Worker;
  let pythonWorker: PythonWorker;
  let sides: { readonly broker: Redis; readonly backend: Redis }[];

  beforeAll(async () => {
    server = await RedisServer.start();
    const at = (db: number) => server.url.replace(/0$/, String(db));
    sides = [0, 2].map((db) => ({ broker: new Redis(at(db)), backend: new Redis(at(db + 1)) }));
    pythonWorker = new PythonWorker({ broker: at(0), backend: at(1), env: { QUEUE: "celery" }, arguments: ["-Q", "first"] });
    app = nodeApp({ brokerUrl: at(2), resultBackend: at(3), taskDefaultQueue: "celery" });
    app.task("cap.add", (x: number, y: number) => x + y);
    app.task("cap.xsum", (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0));
    app.task("cap.on_error", (id: string) => `errback ${id}`);
    app.task("cap.fail", (): number => {
      throw new RangeError("boom");
    });
    worker = new Worker(app, { queues: ["first"], concurrency: 1, name: "node@fixtures" });
    await worker.start();
    await pythonWorker.ready;
  }, 60_000);

  afterAll(async () => {
    for (const { broker, backend } of sides ?? []) for (const client of [broker, backend]) client.disconnect();
    await pythonWorker?.[Symbol.asyncDispose]();
    await worker?.stop();
    await app?.close();
    await server?.stop();
  });

  beforeEach(async () => {
    for (const { backend } of sides) await backend.flushdb();
  });

  test.each(Object.entries(FOLLOWING))("%s", async (name, rounds) => {
    const { messages, other_keys: keys = {} } = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8")) as Recorded;
    for (const { backend } of sides)
      for (const [key, { value }] of Object.entries(keys)) if (key.endsWith(".s")) await backend.set(key, value);
    let due = sides.map(() => messages.map(({ raw }) => raw));
    for (const following of [...rounds, 0]) {
      await Promise.all(sides.map(async ({ broker }, i) => await broker.lpush("first", ...(due[i] ?? []))));
      await Promise.all(
        sides.map(async ({ broker, backend }, i) => {
          const ids = (due[i] as string[]).map((raw) => (JSON.parse(raw) as Envelope).headers.id);
          await expect.poll(async () => await ended(backend, ids), { timeout: 20_000 }).toBe(true);
          await expect.poll(async () => await broker.llen("celery"), { timeout: 20_000 }).toBe(following);
        }),
      );
      due = await Promise.all(sides.map(async ({ broker }) => (following === 0 ? [] : ((await broker.rpop("celery", following)) ?? []))));
      // Whoever is told that a chord's body cannot run has lost its root in Celery, and keeps it here.
      const left = name === "chord_link_error" ? ["root_id"] : [];
      const [theirs, ours] = due.map((raws) =>
        readable(
          raws.map((raw) => JSON.parse(raw) as Envelope),
          left,
        ),
      );
      expect(ours).toEqual(theirs);
    }
    await expect
      .poll(async () => await outcomes(sides[1]?.backend as Redis), { timeout: 20_000 })
      .toEqual(await outcomes(sides[0]?.backend as Redis));
  });
});

interface Envelope {
  readonly headers: Readonly<Record<string, unknown>> & { readonly id: string };
  readonly body: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

async function ended(backend: Redis, ids: readonly string[]): Promise<boolean> {
  const texts = await backend.mget(ids.map((id) => `celery-task-meta-${id}`));
  return texts.every((text) => text !== null && ["SUCCESS", "FAILURE"].includes((JSON.parse(text) as { status: string }).status));
}

/** How many tasks ended how: ids of callbacks are anybody's. */
async function outcomes(backend: Redis): Promise<readonly string[]> {
  const keys = await backend.keys("celery-task-meta-*");
  const texts = keys.length === 0 ? [] : await backend.mget(keys);
  const told = texts.map((text) => {
    const { status, result } = JSON.parse(text ?? "{}") as { status: string; result: { exc_type?: string } };
    return `${status} ${status === "FAILURE" ? result.exc_type : JSON.stringify(result).replace(UUID, "id")}`;
  });
  return told.toSorted();
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const COMPARED = [
  "task", "group", "group_index", "id", "parent_id", "root_id", "retries", "eta", "expires", "timelimit", "shadow", "kwargsrepr",
  "stamped_headers", "stamps", "replaced_task_nesting",
]; // prettier-ignore

/** Ids by first appearance; whose reply goes where, and which of nothing is written how, is each one's own. */
function readable(envelopes: readonly Envelope[], left: readonly string[]): unknown {
  const ids = new Map<string, string>();
  const walk = (value: unknown, key: string): unknown => {
    if (key === "reply_to") return "its own";
    if (typeof value === "string") return value.replace(UUID, (id) => ids.get(id) ?? (ids.set(id, `#${ids.size}`), ids.get(id) as string));
    if (Array.isArray(value)) return value.map((each) => walk(each, ""));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).filter(
      ([, each]) => each !== null && !(Array.isArray(each) && each.length === 0 && key === "options"),
    );
    return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, walk(each, name)]));
  };
  return envelopes.map(({ headers, body, properties }) =>
    walk(
      {
        ...Object.fromEntries(COMPARED.filter((name) => !left.includes(name)).map((name) => [name, headers[name]])),
        argsrepr: String(headers.argsrepr).replace(/^[[(](.*?),?[\])]$/, "$1"), // of a list that JSON has carried before, Python writes a list
        body: JSON.parse(Buffer.from(body, "base64").toString()) as unknown,
        priority: properties.priority,
      },
      "",
    ),
  );
}
