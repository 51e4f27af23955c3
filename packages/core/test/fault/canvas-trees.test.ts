/**
 * Random workflows through real worker processes that are killed while they work. MONITOR tells what is published, by whomever and in
 * whichever script. 10 trees; with `LOVAGE_SOAK=1` 200, or `LOVAGE_TREES`. `LOVAGE_SEED` makes the same trees again, not the same kills.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { type Fate, predict, randomTree, signatureOf, tasksIn, told, valueOf } from "../support/canvas-trees.ts";
import { RedisServer } from "../support/redis-server.ts";
import { Chance } from "../simulation/chance.ts";

const isSoak = process.env["LOVAGE_SOAK"] === "1";
const TREES = Number(process.env["LOVAGE_TREES"] ?? (isSoak ? 200 : 10));
const SEED = Number(process.env["LOVAGE_SEED"] ?? (isSoak ? Date.now() % 1e6 : 7));
const AT_ONCE = 10;
const KILL_EVERY_MS = 1500;
const LOOK_EVERY_MS = 200;
/** Bindings, what the next worker sweeps, and dead letters, which are capped by number and age. */
const OF_WORKERS = /^(_kombu\.binding\.|lovage:(workers$|graves$|loans:|inbox|dead))/;
/** While a worker is up. On a machine with nothing else to do it takes 5 s at most: what is due is another's to end after 3, and looked for every 1.5. */
const PUBLISHED_WITHIN_MS = isSoak ? 10_000 : 30_000;

const FATES: Readonly<Record<Fate, number>> = {
  succeeds: 60, fails: 2, rejects: 1, retries: 5, retriesThenFails: 1, timesOut: 1, expires: 1, revoked: 1, losesWorker: 2, losesWorkerEarly: 0,
}; // prettier-ignore
const GENTLE: Readonly<Partial<Record<Fate, number>>> = { succeeds: 60, retries: 5, losesWorker: 2 };

/** What Redis was told, as it was told. */
class Heard {
  readonly published = new Map<string, number[]>();
  readonly calledWith = new Map<string, string>();
  readonly endedAt = new Map<string, number>();
  /** What was said by ECHO: all before that was heard. */
  readonly echoes = new Set<string>();

  hear(time: number, [command = "", key = "", ...rest]: readonly string[]): void {
    const name = command.toUpperCase();
    if (name === "ECHO") this.echoes.add(key);
    if (name === "LPUSH" && key === "celery") for (const envelope of rest) this.#message(time, envelope);
    const [, id] = /celery-task-meta-(.+)$/.exec(key) ?? [];
    if (id === undefined || !name.startsWith("SET")) return;
    if (rest.some((each) => /"status": "(SUCCESS|FAILURE|REVOKED)"/.test(each))) this.endedAt.set(id, time);
  }

  #message(time: number, envelope: string): void {
    const { headers, body } = JSON.parse(envelope) as { headers: Record<string, unknown>; body: string };
    if (headers["retries"] !== 0) return;
    const [args] = JSON.parse(Buffer.from(body, "base64").toString()) as [unknown[]];
    const isErrback = headers["task"] === "tree.errback";
    const what = isErrback ? `${String(args[1])} < ${String(args[0])}` : String(headers["id"]);
    this.published.set(what, [...(this.published.get(what) ?? []), time]);
    if (!isErrback) this.calledWith.set(what, JSON.stringify(args.slice(0, -2)));
  }
}

/** When any worker was there at all. */
class Uptime {
  readonly #spans: { readonly from: number; to: number }[] = [];
  #count = 0;

  change(by: 1 | -1): void {
    this.#count += by;
    if (by === 1 && this.#count === 1) this.#spans.push({ from: Date.now(), to: Infinity });
    const last = this.#spans.at(-1);
    if (this.#count === 0 && last) last.to = Date.now();
  }

  /** Of that time, ms. */
  within(from: number, to: number): number {
    return this.#spans.reduce((sum, span) => sum + Math.max(0, Math.min(to, span.to) - Math.max(from, span.from)), 0);
  }
}

test(`${TREES} workflows come to what the truth table says while workers are killed`, { timeout: 60_000 + TREES * 20_000 }, async () => {
  const chance = new Chance(SEED);
  let slowestMs = 0;
  let tasks = 0;
  let kills = 0;
  for (let first = 0; first < TREES; first += AT_ONCE) {
    await using redis = await RedisServer.start();
    const settings = { leaseTime: 2, maxDeliveries: 1000, parkThreshold: 2 };
    await using workers = new RecordingWorkers({ broker: redis.url, program: "canvas-worker.mjs", concurrency: 8, settings });
    await using app = new Lovage("canvas", { brokerUrl: redis.url, resultBackend: redis.url, env: false, configFile: false });
    const up = new Uptime();
    const begin = async (): Promise<void> => {
      const worker = await workers.start().catch(() => undefined); // a task may kill it before it has said that it is ready
      if (worker === undefined) return;
      up.change(1);
      void worker.gone.then(() => up.change(-1));
    };
    const hand = new Redis(redis.url, { enableReadyCheck: false }); // its INFO would stand among what MONITOR tells
    const monitor = await hand.monitor();
    const heard = new Heard();
    monitor.on("monitor", (time: string, args: readonly string[]) => heard.hear(Number(time) * 1000, args));
    const trees = Array.from({ length: Math.min(AT_ONCE, TREES - first) }, (_, i) =>
      randomTree(chance, { depth: 4, maxNodes: 60, fates: chance.one(2) ? FATES : GENTLE, name: `x${first + i}` }),
    );
    const predictions = trees.map(predict);
    const all = trees.flatMap(tasksIn);
    tasks += all.length;
    const revoked = all.filter(({ fate }) => fate === "revoked").map(({ id }) => id);
    if (revoked.length > 0) await app.control.revoke(revoked);
    for (let i = 0; i < 3; i++) await begin();
    for (const tree of trees) await app.calls.sendSignature(signatureOf(tree, { run: "tree.run", errback: "tree.errback" }), [], {}, {});

    const isDone = async (): Promise<boolean> =>
      predictions.every(({ calls, errbacks }) => [...calls.keys(), ...errbacks].every((what) => heard.published.has(what))) &&
      predictions.every(({ states }) => [...states.keys()].every((id) => heard.endedAt.has(id))) &&
      (await hand.llen("celery")) === 0 &&
      (await hand.hlen("lovage:due-groups")) === 0;
    const killing = (async () => {
      for (const until = performance.now() + 6 * KILL_EVERY_MS; performance.now() < until && !(await isDone());) {
        await wait(KILL_EVERY_MS);
        await workers.alive[chance.whole(0, workers.alive.length - 1)]?.end("SIGKILL");
        kills += 1;
        while (workers.alive.length < 3) await begin();
      }
    })();
    const look = async (): Promise<boolean> => {
      if (workers.alive.length === 0) await begin(); // each was killed by a task
      return await isDone();
    };
    await eventually("all have ended", look, 120_000, LOOK_EVERY_MS).catch(() => undefined); // what is missing is told below
    await killing;
    await Promise.all(workers.alive.map((worker) => worker.end("SIGTERM"))); // whatever comes too much comes before that
    await hand.echo("the end");
    await eventually("all is heard", () => heard.echoes.has("the end"), 60_000);

    const wrong: string[] = [];
    const expected = new Set<string>();
    for (const [i, { calls, errbacks, states, waits }] of predictions.entries()) {
      const before = wrong.length;
      for (const what of [...calls.keys(), ...errbacks]) {
        expected.add(what);
        const times = heard.published.get(what)?.length ?? 0;
        if (times !== 1) wrong.push(`${what} was published ${times} times`);
      }
      for (const [id, input] of calls)
        if (heard.calledWith.has(id) && heard.calledWith.get(id) !== JSON.stringify(input))
          wrong.push(`${id} was called with ${heard.calledWith.get(id)}, expected ${JSON.stringify(input)}`);
      for (const [id, state] of states) {
        const document = await hand.get(`celery-task-meta-${id}`);
        const { status, result } = JSON.parse(document ?? "{}") as { status?: string; result?: unknown };
        if (status !== state) wrong.push(`${id} is recorded as ${status}, expected ${state}`);
        else if (state === "SUCCESS" && result !== valueOf(id, calls.get(id) ?? []))
          wrong.push(`${id} has the result ${JSON.stringify(result)}`);
      }
      for (const [id, waited] of waits) {
        const endedAt = Math.max(...waited.map((each) => heard.endedAt.get(each) ?? 0));
        const [publishedAt = Infinity] = heard.published.get(id) ?? [];
        slowestMs = Math.max(slowestMs, up.within(endedAt, publishedAt));
      }
      if (wrong.length > before) wrong.push(`in ${told(trees[i] as never)}`);
    }
    for (const what of heard.published.keys()) if (!expected.has(what)) wrong.push(`${what} was published, and should not have been`);
    for (const key of await hand.keys("*"))
      if ((await hand.ttl(key)) === -1 && !OF_WORKERS.test(key)) wrong.push(`the key ${key} stays for ever`);
    monitor.disconnect();
    hand.disconnect();
    expect(wrong, `LOVAGE_SEED=${SEED}\n${workers.log.slice(-10).join("\n")}`).toEqual([]);
  }
  process.stdout.write(
    `${TREES} trees of ${tasks} tasks, ${kills} kills beside those by tasks; a body at most ${slowestMs.toFixed(0)} ms after the last end\n`,
  );
  expect(slowestMs).toBeLessThan(PUBLISHED_WITHIN_MS);
});
