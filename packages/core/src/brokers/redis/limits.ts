/**
 * Limits in Redis: `limit-admit.lua` answers for a batch, `limit-turn.lua` gives turns. Both move envelopes between a worker's
 * loans, the line of a queue and its lists, so a message is always in one of them.
 *
 * After a dropped connection a call is sent again. A loan that is gone then was moved to the line by the first sending; a
 * start that was taken by it is lost to nobody but the clock: the rate is kept, and one start goes unused.
 */
import { sleep } from "../../shared/clock.ts";
import { asList, asNumber, asPairs, asText, asTexts } from "../../stores/redis/answers.ts";
import type { Answer, Argument, RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import {
  keptPlacesKey, keptStartsKey, limitHoldersKey, limitHoldsKey, limitLineKey, limitQueuesKey, limitRunningKey, limitSpecsKey, limitTatsKey, limitTurnsKey,
  listKey, loansKey, workersKey,
} from "../../stores/redis/keys.ts"; // prettier-ignore
import { loadScript } from "../../stores/redis/scripts.ts";
import type { Delivery } from "../broker.ts";
import { limitText, readLimitText } from "../limit-text.ts";
import {
  type Admission, type AdmissionRequest, type Admissions, type GivenUp, limitName, type Limits, type LimitSpec, type LimitState, type LimitTable,
  type TurnOptions, type Turns,
} from "../limits.ts"; // prettier-ignore
import type { RedisContext } from "./context.ts";
import { type LentTurn, RedisDelivery } from "./delivery.ts";
import { tellEnds } from "./fair-ends.ts";
import { asking, askingAgain, brokerError } from "./failures.ts";
import type { WorkerSession } from "./session.ts";

const admitScript = loadScript("limit-admit");
const turnScript = loadScript("limit-turn");

/** Messages in one call, and places given back in one. */
const BATCH = 256;
/** Turns in one call: short enough to let others in between. */
const TURNS = 128;
const RETRY_PAUSE_MS = 500;
/** Bytes that one call of turns lends at most; what is larger goes by its queue. */
const HANDED_BYTES = 4 * 1024 * 1024;
/** What was lent in its turn and comes here later than this asks again, so that the next start under its limit is counted from then. */
const LATE_MS = 50;
const FIELDS_AT_ONCE = 1000;
/** Redis's own clock. */
const NOW = "";

const ADMITTED: Admission = { kind: "admitted", startsInMs: 0, isHeld: false };
const WAITS: Admission = { kind: "waits" };
const LOST: Admission = { kind: "lost" };

/** What else a call of `limit-turn.lua` does. */
interface TurnAct {
  readonly what: "" | "flush" | "release" | "forget" | "giveUp" | "hold" | "recheck";
  readonly args: readonly Argument[];
}

/** Ends loans: the messages return to the front of their queues. */
type GiveBack = (session: WorkerSession, deliveries: readonly RedisDelivery[]) => Promise<unknown>;

export class RedisLimits implements Limits {
  readonly #context: RedisContext;
  readonly #sessionOf: (worker: string) => WorkerSession;
  readonly #giveBack: GiveBack;

  constructor(context: RedisContext, sessionOf: (worker: string) => WorkerSession, giveBack: GiveBack) {
    this.#context = context;
    this.#sessionOf = sessionOf;
    this.#giveBack = giveBack;
  }

  async admit(worker: string, requests: readonly AdmissionRequest[], signal?: AbortSignal): Promise<Admissions> {
    const session = this.#sessionOf(worker);
    const answers = new Map<AdmissionRequest, Admission>();
    const now = this.#context.clock.monotonic();
    const asked = requests.filter((request) => {
      const answer = knownAnswer(session, request.delivery, now);
      if (answer !== undefined) answers.set(request, answer);
      return answer === undefined;
    });
    let next: number | undefined;
    for (let from = 0; from < asked.length; from += BATCH)
      next = least(next, await this.#admitBatch(session, asked.slice(from, from + BATCH), answers, signal));
    return { answers: requests.map((request) => answers.get(request) ?? LOST), nextTurnInMs: next };
  }

  async advance(worker: string, options: TurnOptions): Promise<Turns> {
    const { gone, ...turns } = await this.#turn(worker, options, { what: "", args: [] }, this.#sessionOf(worker));
    for (const holder of gone) await this.#turn(holder, options, { what: "forget", args: [] });
    return turns;
  }

  async release(worker: string, deliveries: readonly Delivery[], options: TurnOptions): Promise<Turns> {
    let turns: Turns = { moved: 0, nextTurnInMs: undefined };
    for (let from = 0; from < deliveries.length; from += BATCH) {
      const args = deliveries.slice(from, from + BATCH).map(({ loan }) => loan);
      const { moved, nextTurnInMs } = await this.#turn(worker, options, { what: "release", args });
      turns = { moved: turns.moved + moved, nextTurnInMs };
    }
    return turns;
  }

  async giveUp(worker: string, requests: readonly GivenUp[], options: TurnOptions): Promise<Turns> {
    const { gone: _, ...turns } = await this.#turn(worker, options, {
      what: "giveUp",
      args: requests.flatMap(({ id, limits, delivery }) => [id, limits.join("\f"), turnOf(delivery)?.start ?? ""]),
    });
    return turns;
  }

  async holdBack(ids: readonly string[], durationMs: number): Promise<void> {
    await this.#turn("", { queues: [], want: 0 }, { what: "hold", args: [Math.ceil(durationMs), ...ids] });
  }

  async recheck(names: readonly string[]): Promise<void> {
    await this.#turn("", { queues: await this.#queues(), want: 0 }, { what: "recheck", args: names });
  }

  /** Returns what waits to its queue, whatever the limits say. */
  async flush(queue?: string): Promise<number> {
    let moved = 0;
    for (const each of queue === undefined ? await this.#queues() : [queue]) {
      for (;;) {
        const turns = await this.#turn("", { queues: [each], want: TURNS }, { what: "flush", args: [] });
        moved += turns.moved;
        if (turns.nextTurnInMs === undefined) break;
      }
    }
    return moved;
  }

  async #queues(): Promise<readonly string[]> {
    return await askingAgain(this.#context, async (connection) =>
      asTexts(await connection.command("SMEMBERS", [limitQueuesKey(this.#context.shard)])),
    );
  }

  async table(): Promise<LimitTable> {
    const fields = await askingAgain(
      this.#context,
      async (connection) => await readHash(connection, this.#specs, Number.POSITIVE_INFINITY),
    );
    const declared = new Map<string, LimitSpec>();
    const set = new Map<string, LimitSpec | null>();
    for (const [field, text] of fields) {
      const spec = readLimitText(text);
      if (spec === undefined) continue;
      if (field.startsWith("s:")) set.set(field.slice(2), spec);
      else if (field.startsWith("d:") && spec !== null) declared.set(field.slice(2), spec);
    }
    return { declared, set };
  }

  async declare(specs: ReadonlyMap<string, LimitSpec>): Promise<void> {
    if (specs.size === 0) return;
    const fields = [...specs].flatMap(([name, spec]) => [`d:${name}`, limitText(spec)]);
    await askingAgain(this.#context, async (connection) => await connection.command("HSET", [this.#specs, ...fields]));
  }

  async set(id: string, spec: LimitSpec | null | undefined): Promise<void> {
    await askingAgain(this.#context, async (connection) =>
      spec === undefined
        ? await connection.command("HDEL", [this.#specs, `s:${id}`])
        : await connection.command("HSET", [this.#specs, `s:${id}`, limitText(spec)]),
    );
  }

  async states(max: number): Promise<readonly LimitState[]> {
    const { shard } = this.#context;
    const { declared, set } = await this.table();
    const queues = await this.#queues();
    return await askingAgain(this.#context, async (connection) => {
      const ids = new Set([...declared.keys(), ...set.keys()]);
      for (const queue of queues)
        for (const id of asTexts(await connection.command("ZRANGE", [limitTurnsKey(shard, queue), 0, max - 1]))) ids.add(id);
      for (const [id] of await readHash(connection, limitRunningKey(shard), max)) ids.add(id);
      const now = await this.#now(connection);
      return await Promise.all([...ids].slice(0, max).map(async (id) => await this.#state(connection, id, queues, { declared, set }, now)));
    });
  }

  async #state(connection: RedisConnection, id: string, queues: readonly string[], table: LimitTable, now: number): Promise<LimitState> {
    const { shard } = this.#context;
    const [tat, running, ...lines] = await Promise.all([
      connection.command("ZSCORE", [limitTatsKey(shard), id]),
      connection.command("HGET", [limitRunningKey(shard), id]),
      ...queues.map(async (queue) => await connection.command("ZLEXCOUNT", [limitLineKey(shard, queue), `[${id}\n`, `(${id}\v`])),
    ]);
    const own = table.set.get(id) ?? table.set.get(limitName(id));
    const spec = own === undefined ? table.declared.get(limitName(id)) : (own ?? undefined);
    const slackMs = spec === undefined ? 0 : (spec.burst - 1) * (spec.intervalMs ?? 0);
    return {
      id,
      spec,
      isSetByHand: own !== undefined,
      waiting: lines.reduce<number>((sum, count) => sum + asNumber(count), 0),
      running: running === null ? 0 : asNumber(running),
      nextStartInMs: tat === null ? 0 : Math.max(0, Math.ceil(Number(asText(tat)) - slackMs - now)),
    };
  }

  async #now(connection: RedisConnection): Promise<number> {
    const [seconds, micros] = asTexts(await connection.command("TIME", []));
    return Number(seconds) * 1000 + Number(micros) / 1000;
  }

  async #admitBatch(
    session: WorkerSession,
    batch: readonly AdmissionRequest[],
    answers: Map<AdmissionRequest, Admission>,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    let isRepetition = false;
    for (;;) {
      const left = batch.filter(({ delivery }) => delivery instanceof RedisDelivery && session.isOutstanding(delivery));
      if (left.length === 0) return undefined;
      try {
        const connection = await session.connection(signal);
        const still = left.filter(({ delivery }) => session.isOutstanding(delivery as RedisDelivery)); // attaching may have told otherwise
        const { keys, args } = this.#admitCall(session, still, isRepetition);
        const [next, ...told] = asList(await connection.script(admitScript, keys, args)).map(asNumber);
        const ended: RedisDelivery[] = [];
        for (const [i, request] of still.entries()) {
          const answer = readAdmission(told[i] as number);
          answers.set(request, answer);
          if (answer.kind !== "admitted") ended.push(request.delivery as RedisDelivery);
        }
        for (const delivery of ended) session.forget(delivery);
        if (session.isFair) tellEnds(this.#context, connection, session.worker, ended);
        return next === -1 ? undefined : next;
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof RedisGoneError) {
          isRepetition ||= error.sent;
          continue;
        }
        if (!(error instanceof RedisAnswerError) || !error.transient) throw brokerError(this.#context.location, error);
        await sleep(this.#context.clock, RETRY_PAUSE_MS * (0.5 + this.#context.random() / 2), signal);
      }
    }
  }

  #admitCall(session: WorkerSession, batch: readonly AdmissionRequest[], isRepetition: boolean) {
    const { shard } = this.#context;
    const queues = new Map<string, number>();
    const sets = new Map<string, number>();
    const texts: string[] = [];
    const numbers: number[] = [];
    for (const { delivery, id, limits, expiresAt } of batch) {
      let queue = queues.get(delivery.queue);
      if (queue === undefined) queues.set(delivery.queue, (queue = queues.size + 1));
      const set = limits.length === 1 ? `${queue}\f${limits[0]}` : `${queue}\f${limits.join("\f")}`;
      let number = sets.get(set);
      if (number === undefined) sets.set(set, (number = sets.size + 1));
      numbers.push(number);
      texts.push(`${expiresAt ?? ""}\f${turnOf(delivery)?.start ?? ""}\f${Buffer.byteLength(id)}\f${id}${delivery.loan}`);
    }
    const keys = [...this.#shared, session.loansKey, limitHoldsKey(shard, session.worker), limitHoldersKey(shard), limitQueuesKey(shard)];
    for (const queue of queues.keys()) keys.push(limitLineKey(shard, queue), limitTurnsKey(shard, queue));
    return {
      keys,
      args: [
        NOW,
        session.worker,
        isRepetition ? "1" : "",
        [...queues.keys()].join("\n"),
        sets.size,
        ...sets.keys(),
        sets.size > 1 ? numbers.join(",") : "",
        ...texts,
      ],
    };
  }

  async #turn(
    worker: string,
    { queues, want }: TurnOptions,
    { what, args }: TurnAct,
    session?: WorkerSession,
  ): Promise<Turns & { readonly gone: readonly string[] }> {
    const { shard, options } = this.#context;
    const keys = [...this.#shared, limitHoldsKey(shard, worker), limitHoldersKey(shard), workersKey(shard), limitQueuesKey(shard)];
    keys.push(loansKey(shard, worker));
    const lists: string[] = [];
    for (const queue of queues) {
      const own = options.prioritySteps.map((step) => listKey(shard, queue, step));
      keys.push(limitLineKey(shard, queue), limitTurnsKey(shard, queue), ...own);
      lists.push(...own);
    }
    const most = Math.min(want, TURNS);
    return await asking(this.#context, async (connection) => {
      const hand = session?.isAttachedTo(connection) ? session.handFor(lists) : undefined;
      const room = Math.max(0, Math.min(most, hand?.room() ?? 0));
      const first = session && room > 0 ? session.number(room) : 0;
      const lending = [session?.epoch ?? "", session?.prefix ?? "", first, room, HANDED_BYTES];
      const given = [NOW, worker, most, options.prioritySteps.length, queues.join("\n"), ...lending, what, ...args];
      const [moved, next, handed, ...gone] = asList(await connection.script(turnScript, keys, given));
      const lent = session ? await this.#lent(session, lists, first, asList(handed)) : 0;
      const nextMs = asNumber(next);
      return { moved: asNumber(moved) + lent, nextTurnInMs: nextMs === -1 ? undefined : nextMs, gone: asTexts(gone) };
    });
  }

  /** Gives what was lent to who consumes it. Returns how many. */
  async #lent(session: WorkerSession, lists: readonly string[], first: number, handed: readonly Answer[]): Promise<number> {
    const now = this.#context.clock.monotonic();
    const deliveries: RedisDelivery[] = [];
    for (let i = 0; i + 3 < handed.length; i += 4) {
      const delivery = session.lent(first + deliveries.length, asText(handed[i]), handed[i + 3] as Buffer);
      delivery.turn = { start: asText(handed[i + 1]), dueAt: now + asNumber(handed[i + 2]) };
      deliveries.push(delivery);
    }
    if (deliveries.length === 0) return 0;
    const hand = session.handFor(lists);
    if (hand) hand.take(deliveries);
    else await this.#returnLent(session, deliveries);
    return deliveries.length;
  }

  /** Who consumed them has stopped meanwhile. */
  async #returnLent(session: WorkerSession, deliveries: readonly RedisDelivery[]): Promise<void> {
    try {
      await this.#giveBack(session, deliveries);
    } catch (error) {
      for (const delivery of deliveries) session.forget(delivery); // a later consumer of this worker finds them
      throw error;
    }
  }

  get #shared(): readonly string[] {
    const { shard } = this.#context;
    return [limitSpecsKey(shard), limitTatsKey(shard), limitRunningKey(shard), keptStartsKey(shard), keptPlacesKey(shard)];
  }

  get #specs(): string {
    return limitSpecsKey(this.#context.shard);
  }
}

/** At least `max` of its fields, if there are so many; in portions, and a field perhaps twice. */
async function readHash(connection: RedisConnection, key: string, max: number): Promise<readonly (readonly [string, string])[]> {
  const found: [string, string][] = [];
  let cursor = "0";
  do {
    const [next, fields] = asList(await connection.command("HSCAN", [key, cursor, "COUNT", FIELDS_AT_ONCE]));
    cursor = asText(next);
    found.push(...asPairs(fields));
  } while (cursor !== "0" && found.length < max);
  return found;
}

function turnOf(delivery: Delivery | undefined): LentTurn | undefined {
  return delivery instanceof RedisDelivery ? delivery.turn : undefined;
}

/** What need not be asked. */
function knownAnswer(session: WorkerSession, delivery: Delivery, now: number): Admission | undefined {
  if (!(delivery instanceof RedisDelivery)) return undefined;
  if (delivery.isFanout) return ADMITTED;
  if (delivery.turn === undefined || now > delivery.turn.dueAt + LATE_MS || !session.isOutstanding(delivery)) return undefined;
  const startsInMs = Math.max(0, Math.ceil(delivery.turn.dueAt - now));
  return startsInMs === 0 ? ADMITTED : { kind: "admitted", startsInMs, isHeld: false };
}

function readAdmission(code: number): Admission {
  if (code === -2) return WAITS;
  if (code === -1) return LOST;
  return code === 0 ? ADMITTED : { kind: "admitted", startsInMs: code >> 1, isHeld: (code & 1) === 1 };
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}
