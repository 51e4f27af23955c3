/**
 * The application, the relay, the database and Redis, each killed with -9 at every step that the application and the relay take. What was
 * committed is in the queue, what was rolled back is not, and the tasks of a key came in the order of its orders.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { Lovage } from "../../src/app/app.ts";
import { openOutboxStore } from "../../src/outbox/open-store.ts";
import type { OutboxStatus, OutboxStore } from "../../src/outbox/store.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { newId } from "../../src/shared/ids.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { loadSqlite } from "../../src/stores/sqlite/driver.ts";
import { eventually } from "../support/eventually.ts";
import { connectPg, newPgDatabase } from "../support/outboxes.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { RedisServer } from "../support/redis-server.ts";
import { temporaryDatabase } from "../support/sqlite.ts";
import { Chance } from "../simulation/chance.ts";

const RUNS = Number(process.env.LOVAGE_OUTBOX_RUNS ?? (process.env.LOVAGE_SOAK ? 1000 : 20));
const ORDERS = 8;
const KEYS = ["a", "b"];
const KILLS_A_RUN = 4;
const RUN_MS = 60_000;

type Role = "application" | "relay";
type Victim = Role | "database" | "redis";

const STEPS: Readonly<Record<"postgres" | "sqlite", readonly string[]>> = {
  postgres: [
    ...["begin", "count", "order", "outbox", "end", "ended"].map((step) => `application: ${step}`),
    ...["begin", "lanes", "rows", "publish", "published", "delete", "end", "ended"].map((step) => `relay: ${step}`),
  ],
  sqlite: [
    ...["begin", "count", "order", "outbox", "end", "ended"].map((step) => `application: ${step}`),
    ...["publish", "published"].map((step) => `relay: ${step}`),
  ],
};

interface Kill {
  readonly victim: Victim;
  readonly step: string;
  /** At which time that this step is taken in a run. */
  readonly count: number;
  /** While the step is being taken, so long after it began; undefined: before it. */
  readonly afterMs: number | undefined;
}

interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<void>;
}

/** The database as the test sees it. */
interface Orders extends AsyncDisposable {
  readonly url: string;
  kill?(): Promise<void>;
  /** Resolves when no transaction of the application is open, not even one whose process is gone. */
  settled?(): Promise<void>;
  clear(): Promise<void>;
  /** In the order of their numbers for each key. */
  committed(): Promise<readonly { readonly id: string; readonly key: string }[]>;
}

class Storm implements AsyncDisposable {
  readonly #orders: Orders;
  readonly #redis: RedisServer;
  readonly #children = new Map<Role, Child>();
  #kills: Kill[] = [];
  readonly #seen = new Map<string, number>();
  /** One kill after the other. */
  #work: Promise<void> = Promise.resolve();
  #wrote: (id: string) => void = () => undefined;
  readonly done = new Map<string, number>();
  failure: unknown;

  constructor(orders: Orders, redis: RedisServer) {
    this.#orders = orders;
    this.#redis = redis;
  }

  async start(role: Role): Promise<void> {
    const options = JSON.stringify({ role, database: this.#orders.url, redis: this.#redis.url });
    const child = fork(new URL("./outbox-kill-child.mjs", import.meta.url), [options], { execArgv: [] });
    const ready = once(child, "message");
    const ended = new Promise<void>((resolve) => {
      child.once("exit", (code, signal) => {
        if (signal !== "SIGKILL") this.failure ??= new Error(`the ${role} ended by itself with ${code ?? signal}`);
        resolve();
      });
    });
    child.on("message", (message: "ready" | { step?: string; wrote?: string }) => {
      if (message === "ready") return;
      if (message.wrote !== undefined) this.#wrote(message.wrote);
      if (message.step !== undefined) this.#reached(child, message.step);
    });
    this.#children.set(role, { process: child, ended });
    await ready;
  }

  #reached(child: ChildProcess, step: string): void {
    const count = (this.#seen.get(step) ?? 0) + 1;
    this.#seen.set(step, count);
    const at = this.#kills.findIndex((kill) => kill.step === step && kill.count <= count);
    const [kill] = at === -1 ? [] : this.#kills.splice(at, 1);
    const go = (): void => void (child.connected && child.send("go", () => undefined));
    if (kill === undefined) return go();
    this.done.set(`${kill.victim} at ${kill.step}`, 1);
    if (kill.afterMs !== undefined) go();
    this.#work = this.#work
      .then(() => (kill.afterMs === undefined ? undefined : wait(kill.afterMs)))
      .then(() => this.#kill(kill.victim))
      .catch((error: unknown) => void (this.failure ??= error))
      .then(kill.afterMs === undefined ? go : undefined);
  }

  async #kill(victim: Victim): Promise<void> {
    if (victim === "database") return await this.#orders.kill?.();
    if (victim === "redis") {
      await this.#redis.kill();
      return await this.#redis.restart();
    }
    await this.#end(victim);
    await this.start(victim);
  }

  async #end(role: Role): Promise<void> {
    const child = this.#children.get(role);
    child?.process.kill("SIGKILL");
    await child?.ended;
  }

  /** Has every order written, or tried; some applications die at it. */
  async write(orders: readonly { id: string; key: string; isKept: boolean }[], kills: readonly Kill[]): Promise<void> {
    this.#kills = [...kills];
    this.#seen.clear();
    for (const order of orders) {
      await this.#work;
      if (this.failure !== undefined) return;
      const child = this.#children.get("application") as Child;
      const written = new Promise<void>((resolve) => (this.#wrote = (id) => (id === order.id ? resolve() : undefined)));
      child.process.send(order, () => undefined);
      await Promise.race([written, child.ended]); // who died may have committed: the order is not tried again
    }
  }

  /** No more kills, and those that have begun are over. */
  async calm(): Promise<void> {
    this.#kills = [];
    await this.#work;
    if (this.failure !== undefined) throw this.failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#work;
    for (const role of this.#children.keys()) await this.#end(role);
  }
}

async function storm(kind: "postgres" | "sqlite", orders: Orders, annotate: (text: string) => Promise<unknown>): Promise<void> {
  await using redis = await RedisServer.start({ appendonly: true });
  await using app = new Lovage("shop", {
    brokerUrl: redis.url,
    outboxUrl: orders.url,
    env: false,
    configFile: false,
    logger: silentLogger,
  });
  await using store: OutboxStore = openOutboxStore(app);
  await store.migrate();
  await orders.clear();
  await using storming = new Storm(orders, redis);
  await storming.start("application");
  await storming.start("relay");
  const victims: Victim[] = kind === "postgres" ? ["application", "relay", "database", "redis"] : ["application", "relay", "redis"];
  const pairs = victims.flatMap((victim) => STEPS[kind].map((step) => ({ victim, step })));
  let [written, repeated, rolledBack] = [0, 0, 0];
  for (let run = 0; run < RUNS; run++) {
    const chance = new Chance(run + 1);
    const kills = Array.from({ length: KILLS_A_RUN }, (_, at): Kill => {
      // All pairs in turn, in strides that put different ones together.
      const pair = pairs[((run * KILLS_A_RUN + at) * 5) % pairs.length] as (typeof pairs)[number];
      return { ...pair, count: chance.whole(1, 3), afterMs: chance.next() < 0.4 ? chance.between(0, 4) : undefined };
    });
    const plan = Array.from({ length: ORDERS }, () => ({
      id: newId(),
      key: KEYS[chance.whole(0, KEYS.length - 1)] as string,
      isKept: chance.next() < 0.75,
    }));
    await storming.write(plan, kills);
    const what = `run ${run}: ${JSON.stringify(kills)}`;
    await drained(store, what);
    await storming.calm();
    await orders.settled?.();
    await drained(store, what); // what was committed by one who was dead already
    const committed = await orders.committed();
    const sent = await idsIn(redis);
    const first = [...new Set(sent)];
    expect(first.toSorted(), what).toEqual(committed.map(({ id }) => id).toSorted());
    for (const key of KEYS) {
      const inOrder = committed.filter((order) => order.key === key).map(({ id }) => id);
      expect(
        first.filter((id) => inOrder.includes(id)),
        what,
      ).toEqual(inOrder);
    }
    for (const { id } of plan.filter(({ isKept }) => !isKept)) expect(sent, what).not.toContain(id);
    written += committed.length;
    rolledBack += plan.filter(({ isKept }) => !isKept).length;
    repeated += sent.length - first.length;
    expect((await store.status()).setAside).toBe(0);
    await orders.clear();
    await emptied(redis);
  }
  await annotate(
    `${written} committed, ${rolledBack} rolled back, ${repeated} sent twice; ${storming.done.size} of ${pairs.length} kinds of kill`,
  );
  expect(written).toBeGreaterThan(RUNS * 2);
  if (RUNS >= 20) expect(storming.done.size).toBeGreaterThan(pairs.length * 0.7);
}

async function drained(store: OutboxStore, what: string): Promise<void> {
  let status: OutboxStatus | undefined;
  const isDrained = async (): Promise<boolean> => (status = await store.status().catch(() => undefined))?.waiting === 0;
  await eventually("an empty outbox", isDrained, RUN_MS).catch((error: Error) => {
    throw new Error(`${error.message}: ${what}, ${JSON.stringify(status)}`);
  });
}

/** First to last. */
async function idsIn(server: RedisServer): Promise<string[]> {
  const client = new Redis(server.url);
  const envelopes = await client.lrange("celery", 0, -1);
  client.disconnect();
  return envelopes.toReversed().map((envelope) => String(decodeEnvelope(envelope).message.headers["id"]));
}

async function emptied(server: RedisServer): Promise<void> {
  const client = new Redis(server.url);
  await client.del("celery");
  client.disconnect();
}

const TABLES = "CREATE TABLE counters (key text PRIMARY KEY, n integer NOT NULL); CREATE TABLE orders (id text, key text, n integer)";
const CLEARED = ["DELETE FROM counters", "DELETE FROM orders", ...KEYS.map((key) => `INSERT INTO counters VALUES ('${key}', 0)`)];
const COMMITTED = "SELECT id, key FROM orders ORDER BY key, n";
type Order = { readonly id: string; readonly key: string };

test(
  `PostgreSQL: the application, the relay, the database or Redis killed at every step, ${RUNS} runs`,
  { timeout: RUNS * RUN_MS },
  async ({ annotate }) => {
    await using server = await PostgresServer.start();
    const url = await newPgDatabase(server);
    const ask = async <T>(statements: readonly string[]): Promise<readonly T[]> => {
      const client = await connectPg(url);
      let rows: readonly unknown[] = [];
      for (const statement of statements) rows = (await client.query(statement)).rows;
      await client.end();
      return rows as readonly T[];
    };
    await ask([TABLES]);
    await storm(
      "postgres",
      {
        url,
        kill: async () => {
          await server.kill();
          await server.restart();
        },
        settled: async () => void (await ask(["BEGIN", "LOCK TABLE counters, orders IN EXCLUSIVE MODE", "COMMIT"])),
        clear: async () => void (await ask(CLEARED)),
        committed: () => ask<Order>([COMMITTED]),
        [Symbol.asyncDispose]: async () => undefined,
      },
      annotate,
    );
  },
);

test(`SQLite: the application, the relay or Redis killed at every step, ${RUNS} runs`, { timeout: RUNS * RUN_MS }, async ({ annotate }) => {
  await using file = await temporaryDatabase();
  const DatabaseSync = await loadSqlite();
  const database = new DatabaseSync(file.path);
  database.exec("PRAGMA busy_timeout = 10000");
  database.exec(TABLES);
  await storm(
    "sqlite",
    {
      url: `sqlite://${file.path}`,
      clear: async () => CLEARED.forEach((statement) => database.exec(statement)),
      committed: async () => database.prepare(COMMITTED).all() as readonly Order[],
      [Symbol.asyncDispose]: async () => undefined,
    },
    annotate,
  );
  database.close();
});
