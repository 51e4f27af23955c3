/**
 * Leases of workers and the sweep of what the dead held. After celery-protocol.md, section 3.6, for what Python workers abandoned.
 *
 * A lease: none -> in force (renewed) -> run out -> (renewed) in force, or swept -> (grave) forgotten. It is lost only when Redis says so.
 * Renewing also tells what there is to do, so that an idle worker's sweep asks nothing of its own.
 * Invariant: who sweeps has looked at the leases for a whole lease without a break: on one connection to one run of the server, with no
 * stall of the server's or its own, with no jump of the server's clock, and with no renewal that failed. After any of these the living get a whole lease to say that
 * they live; without them, a lease that has run out belongs to the dead, and is swept when two looks have shown it.
 */
import { newId } from "../../shared/ids.ts";
import { asList, asNumber, asPairs, asText, asTexts } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { gravesKey, inboxesKey, inboxKey, loansKey, sweepLockKey, sweptKey, unackedKey, workersKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { LeaseInfo, Leases, LeaseState, SweepOptions, SweepReport } from "../broker.ts";
import { type RedisContext, SWEPT_MARK_MS } from "./context.ts";
import { asking } from "./failures.ts";
import type { KombuSweep } from "./kombu-sweep.ts";
import { returnLoans } from "./take-back.ts";
import { BLOCK_MS } from "./waiter.ts";

const renewScript = loadScript("renew");
const buryScript = loadScript("bury");
const unlockScript = loadScript("unlock");

const EPOCH_FIELD = "@epoch";
/** Of one sweeper; longer than a portion takes, short enough that a dead sweeper is soon replaced. */
const SWEEP_LOCK_MS = 10_000;
/** A dead worker's blocking read may still be in force, until Redis notices or its time is up. */
const GRAVE_MS = BLOCK_MS + 10_000;
const WORKERS_AT_ONCE = 16;
/** Parts of a lease: the longest time between two looks that are one watch, how far Redis's clock may go astray meanwhile, and how long a lease must be seen as run out. */
const GAP = 3 / 4;
const JUMP = 1 / 8;
const CONFIRMED = 1 / 8;
/** An answer may be that long on its way without the clock having jumped. */
const SLOW_ANSWER_MS = 250;

/** What a look at the leases showed. */
interface View {
  readonly connection: RedisConnection;
  readonly seenAt: number;
  readonly redisNow: number;
  /** Worker -> lease end. */
  readonly runOut: readonly (readonly [string, number])[];
  readonly hasGraves: boolean;
  /** ms since 1970; undefined: none. */
  readonly oldestUnackedAt: number | undefined;
}

export class RedisLeases implements Leases {
  readonly #context: RedisContext;
  readonly #kombu: KombuSweep;
  readonly #renewed = new Set<string>();
  /** Worker -> the last loss that it was told of, by its mark: named in the next renewal, so that Redis need not tell it again. */
  readonly #heard = new Map<string, string>();
  /** Workers whose lease was seen as run out, and since when; while the watch lasts. */
  readonly #firstSeen = new Map<string, { readonly end: number; readonly at: number }>();
  /** Since when, by the monotonic clock, the leases have been looked at without a break. */
  #watchedSince = 0;
  #tidiedAt = Number.NEGATIVE_INFINITY;
  #lastLook: Pick<View, "connection" | "seenAt" | "redisNow"> | undefined;
  #view: View | undefined;

  constructor(context: RedisContext, kombu: KombuSweep) {
    this.#context = context;
    this.#kombu = kombu;
  }

  async renew(worker: string, durationMs: number): Promise<LeaseState> {
    const { clock, shard, options } = this.#context;
    return await asking(this.#context, async (connection) => {
      const keys = [workersKey(shard), sweptKey(shard, worker), gravesKey(shard), unackedKey(shard, options.unackedIndexKey)];
      const sentAt = clock.now();
      const isRenewed = this.#renewed.has(worker) ? "1" : "";
      const args = [worker, durationMs, isRenewed, this.#heard.get(worker) ?? "", newId(), SWEPT_MARK_MS];
      const answer = asList(await connection.script(renewScript, keys, args).catch((error: unknown) => this.#cannotRenew(error)));
      const answeredAt = clock.now();
      this.#renewed.add(worker);
      const redisNow = asNumber(answer[1]) * 1000 + asNumber(answer[2]) / 1000;
      this.#look(connection, redisNow, asNumber(answer[3]) === 1, asText(answer[4]), asPairs(answer.slice(5)));
      const mark = asText(answer[0]);
      if (mark !== "") this.#heard.set(worker, mark);
      return { held: mark === "", clockOffsetMs: redisNow - (sentAt + answeredAt) / 2 };
    });
  }

  /** Who cannot renew here may find that nobody can, as with a full disk, while leases can still be read: then none has run out for a reason. */
  #cannotRenew(error: unknown): never {
    this.#lastLook = undefined;
    this.#view = undefined;
    throw error;
  }

  async sweep(options: SweepOptions): Promise<SweepReport> {
    const { clock } = this.#context;
    return await asking(this.#context, async (connection) => {
      const isFresh = this.#view?.connection === connection && clock.monotonic() - this.#view.seenAt <= options.leaseMs / 2;
      const view = isFresh ? (this.#view as View) : await this.#lookNow(connection);
      const ripe = view.runOut.map(([worker]) => worker).filter((worker) => this.#isRipe(worker, options.leaseMs));
      const isTurn = clock.monotonic() - this.#tidiedAt >= options.leaseMs / 2; // graves and Python's loans are in no hurry
      const hasGraves = isTurn && view.hasGraves;
      const hasOldUnacked =
        isTurn && view.oldestUnackedAt !== undefined && view.oldestUnackedAt <= view.redisNow - options.visibilityTimeoutMs;
      let report: SweepReport = { returned: 0, deadLettered: 0, workers: [] };
      if (ripe.length > 0 || hasGraves) report = await this.#sweepLocked(connection, ripe, options, view.redisNow);
      if (hasOldUnacked) {
        const returned = await this.#kombu.sweep(connection, options.visibilityTimeoutMs);
        report = { ...report, returned: report.returned + returned };
      }
      if (hasGraves || (hasOldUnacked && report.returned > 0)) this.#tidiedAt = clock.monotonic();
      if (ripe.length > 0 || hasGraves || hasOldUnacked) this.#view = undefined; // it is as old as what was done about it
      return report;
    });
  }

  async release(worker: string): Promise<number> {
    return await asking(this.#context, async (connection) => {
      const done = await this.#takeAll(connection, worker, { why: "released" });
      this.#renewed.delete(worker);
      this.#heard.delete(worker);
      return done.returned;
    });
  }

  async list(): Promise<readonly LeaseInfo[]> {
    const { shard } = this.#context;
    return await asking(this.#context, async (connection) => {
      const leases = asPairs(await connection.command("ZRANGE", [workersKey(shard), 0, -1, "WITHSCORES"]));
      return await Promise.all(
        leases.map(async ([worker, endsAt]) => {
          const [fields, epoch] = await Promise.all([
            connection.command("HLEN", [loansKey(shard, worker)]),
            connection.command("HEXISTS", [loansKey(shard, worker), EPOCH_FIELD]),
          ]);
          return { worker, endsAt: Number(endsAt), loans: asNumber(fields) - asNumber(epoch) };
        }),
      );
    });
  }

  async #lookNow(connection: RedisConnection): Promise<View> {
    const { shard, options } = this.#context;
    const now = asTexts(await connection.command("TIME", []));
    const redisNow = Number(now[0]) * 1000 + Number(now[1]) / 1000;
    const [runOut, graves, unacked] = await Promise.all([
      connection.command("ZRANGEBYSCORE", [workersKey(shard), "-inf", Math.floor(redisNow), "WITHSCORES", "LIMIT", 0, WORKERS_AT_ONCE]),
      connection.command("EXISTS", [gravesKey(shard)]),
      connection.command("ZRANGE", [unackedKey(shard, options.unackedIndexKey), 0, 0, "WITHSCORES"]),
    ]);
    return this.#look(connection, redisNow, asNumber(graves) === 1, asPairs(unacked)[0]?.[1] ?? "", asPairs(runOut));
  }

  #look(
    connection: RedisConnection,
    redisNow: number,
    hasGraves: boolean,
    oldestUnacked: string,
    runOut: readonly (readonly [string, string])[],
  ): View {
    const seenAt = this.#context.clock.monotonic();
    const ends = runOut.map(([worker, end]) => [worker, Number(end)] as const);
    if (!this.#goesOn(connection, seenAt, redisNow)) {
      this.#watchedSince = seenAt;
      this.#firstSeen.clear();
    }
    const still = new Map(ends);
    for (const [worker, first] of this.#firstSeen) if (still.get(worker) !== first.end) this.#firstSeen.delete(worker);
    for (const [worker, end] of ends) if (!this.#firstSeen.has(worker)) this.#firstSeen.set(worker, { end, at: seenAt });
    this.#lastLook = { connection, seenAt, redisNow };
    // kombu writes seconds since 1970 with a fraction.
    this.#view = {
      connection,
      seenAt,
      redisNow,
      runOut: ends,
      hasGraves,
      oldestUnackedAt: oldestUnacked === "" ? undefined : Number(oldestUnacked) * 1000,
    };
    return this.#view;
  }

  /** Whether this look and the last are one watch: nothing came between that could have kept a living worker from renewing. */
  #goesOn(connection: RedisConnection, seenAt: number, redisNow: number): boolean {
    const last = this.#lastLook;
    if (last?.connection !== connection) return false;
    const passedMs = seenAt - last.seenAt;
    const { leaseMs } = this.#context;
    return passedMs <= leaseMs * GAP && Math.abs(redisNow - last.redisNow - passedMs) <= Math.max(leaseMs * JUMP, SLOW_ANSWER_MS);
  }

  #isRipe(worker: string, leaseMs: number): boolean {
    const first = this.#firstSeen.get(worker);
    const now = this.#context.clock.monotonic();
    return first !== undefined && now - this.#watchedSince >= leaseMs && now - first.at >= leaseMs * CONFIRMED;
  }

  async #sweepLocked(
    connection: RedisConnection,
    workers: readonly string[],
    options: SweepOptions,
    redisNow: number,
  ): Promise<SweepReport> {
    const { shard } = this.#context;
    const lock = sweepLockKey(shard);
    const token = newId();
    if ((await connection.command("SET", [lock, token, "NX", "PX", SWEEP_LOCK_MS])) === null)
      return { returned: 0, deadLettered: 0, workers: [] };
    try {
      let returned = 0;
      let deadLettered = 0;
      const swept: string[] = [];
      for (const worker of workers) {
        const done = await this.#takeAll(connection, worker, {
          why: "expired",
          maxDeliveries: options.maxDeliveries,
          now: Math.round(redisNow),
        });
        returned += done.returned;
        deadLettered += done.deadLettered;
        if (done.isGone) swept.push(worker);
        await connection.command("PEXPIRE", [lock, SWEEP_LOCK_MS]);
      }
      for (const worker of asTexts(await connection.command("ZRANGE", [gravesKey(shard), 0, WORKERS_AT_ONCE - 1]))) {
        returned += Math.max(0, await this.#bury(connection, worker, "grave"));
      }
      return { returned, deadLettered, workers: swept };
    } finally {
      await connection.script(unlockScript, [lock], [token]).catch(() => undefined); // it ends by itself in time
    }
  }

  async #takeAll(
    connection: RedisConnection,
    worker: string,
    how: { why: "expired"; maxDeliveries: number; now: number } | { why: "released" },
  ): Promise<{ returned: number; deadLettered: number; isGone: boolean }> {
    const fields = asTexts(await connection.command("HKEYS", [loansKey(this.#context.shard, worker)]));
    const loans = fields.filter((field) => field !== EPOCH_FIELD);
    const done = await returnLoans(this.#context, connection, worker, loans, how);
    if (!done) return { returned: 0, deadLettered: 0, isGone: false };
    const moved = await this.#bury(connection, worker, how.why);
    return { returned: done.returned + Math.max(0, moved), deadLettered: done.deadLettered, isGone: moved >= 0 };
  }

  async #bury(connection: RedisConnection, worker: string, why: "expired" | "released" | "grave"): Promise<number> {
    const { shard } = this.#context;
    const registry = inboxesKey(shard, worker);
    const lists = asTexts(await connection.command("SMEMBERS", [registry]));
    const keys = [
      loansKey(shard, worker),
      workersKey(shard),
      gravesKey(shard),
      registry,
      ...lists.flatMap((list) => [inboxKey(shard, worker, list), list]),
    ];
    return asNumber(await connection.script(buryScript, keys, [worker, why, GRAVE_MS]));
  }
}
