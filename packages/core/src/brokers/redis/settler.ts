/**
 * Ends loans: turns settlements into calls of `settle.lua` and sends them until they are answered.
 *
 * After a dropped connection a batch is sent again, marked as a repetition. A loan that is gone then, while the lease was
 * never lost, means that the first sending was executed: its answer is "settled".
 */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { newId } from "../../shared/ids.ts";
import { sleep } from "../../shared/clock.ts";
import type { Answer, RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import type { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { ReplicaOptions } from "../../stores/redis/options.ts";
import { replicated } from "../../stores/redis/replicas.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { Outgoing, SettleAnswer, Settlement, SettleOptions } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { RedisDelivery } from "./delivery.ts";
import { brokerError } from "./failures.ts";
import { tellEnds } from "./fair-ends.ts";
import type { Route, Router } from "./routing.ts";
import type { WorkerSession } from "./session.ts";
import { type Prepared, settleCall } from "./settle-call.ts";

const settleScript = loadScript("settle");
const ALL_WERE_THERE = 1;
/** "0" and "2" of its answer. */
const NOT_THERE = 0x30;
const HAS_COMPLETED = 0x32;
const NOTHING: readonly never[] = [];

/** One call's settlements: below Lua's limit of values on its stack, and short enough to let others in between. */
const BATCH = 256;
const BATCH_BYTES = 4 * 1024 * 1024;
const RETRY_PAUSE_MS = 500;
const NO_REPLICAS_MS = 2000;
/** Waiting for replicas holds up reserving on the same connection: one that is there answers in a millisecond or two. */
const REPLICAS_WAIT_MS = 100;

/** What is the same for all of a call's batches. */
interface Sending {
  readonly results: SharedRedis | undefined;
  readonly signal: AbortSignal | undefined;
  readonly completed: SettleOptions["completed"];
}

export class Settler {
  readonly #context: RedisContext;
  readonly #router: Router;
  /** 0: the replicas had what was written when they were last waited for. */
  #lookForReplicasAt = 0;

  constructor(context: RedisContext, router: Router) {
    this.#context = context;
    this.#router = router;
  }

  /** All of one worker. @throws BrokerRefusedError when Redis does not tell where follow-ups go, or the signal's reason. */
  async settle(
    session: WorkerSession,
    settlements: readonly Settlement[],
    results: SharedRedis | undefined,
    { signal, completed }: Pick<SettleOptions, "signal" | "completed"> = {},
  ): Promise<readonly SettleAnswer[]> {
    const answers: SettleAnswer[] = settlements.map(() => "lost");
    const positions = new Map<RedisDelivery, number>();
    settlements.forEach(({ delivery }, i) => {
      if (delivery instanceof RedisDelivery && session.isOutstanding(delivery) && !positions.has(delivery)) positions.set(delivery, i);
    });
    const prepared = await this.#prepare(
      session,
      [...positions.values()].map((i) => settlements[i] as Settlement),
      signal,
    );
    await Promise.all(
      batches(prepared).map(async (batch) => {
        const told = await this.#send(session, batch, { results, signal, completed });
        batch.forEach(({ delivery }, i) => (answers[positions.get(delivery) as number] = told[i] as SettleAnswer));
      }),
    );
    return answers;
  }

  async #prepare(
    session: WorkerSession,
    settlements: readonly Settlement[],
    signal: AbortSignal | undefined,
  ): Promise<readonly Prepared[]> {
    const isUnknown = (each: Outgoing): boolean => this.#router.known(each) === undefined;
    const needsLookUp = settlements.some(({ publish }) => publish?.some(isUnknown));
    const routesOf = async (publish: readonly Outgoing[]): Promise<readonly Route[]> => {
      for (;;) {
        try {
          return await this.#router.routes(await session.connection(signal), publish);
        } catch (error) {
          await this.#waitOut(error, undefined, signal);
        }
      }
    };
    const prepare = (settlement: Settlement, routes: readonly Route[]): Prepared => {
      const delivery = settlement.delivery as RedisDelivery; // `settle` has looked
      const { publish } = settlement;
      const follow = (each: Outgoing, i: number): Prepared["follows"][number] => ({
        route: this.#orHome(routes[i] ?? (this.#router.known(each) as Route), each, delivery),
        envelope: encodeEnvelope(each.message, { exchange: each.exchange, routingKey: each.routingKey }, newId()),
      });
      const follows = publish === undefined || publish.length === 0 ? NOTHING : publish.map(follow);
      let bytes = 0;
      for (const { envelope } of follows) bytes += envelope.length;
      for (const { document } of settlement.results ?? []) bytes += document.length;
      for (const { part, result, body } of settlement.parts ?? []) bytes += part.length + (result?.document.length ?? 0) + body.length;
      if (settlement.end.kind !== "ack") bytes += delivery.raw.length;
      return { delivery, settlement, follows, bytes };
    };
    if (!needsLookUp) return settlements.map((settlement) => prepare(settlement, []));
    return await Promise.all(settlements.map(async (settlement) => prepare(settlement, await routesOf(settlement.publish ?? []))));
  }

  /** What follows from a task must not get lost because a binding is gone: it goes to the queue that the task came from. */
  #orHome(route: Route, { exchange, routingKey }: Outgoing, delivery: RedisDelivery): Route {
    if (route.kind !== "nowhere") return route;
    this.#context.logger.warn(
      { exchange, routingKey, queue: delivery.queue },
      "no queue is bound for this message: it goes to the queue of the task that it follows from",
    );
    return { kind: "lists", lists: [delivery.list] };
  }

  async #send(session: WorkerSession, batch: readonly Prepared[], how: Sending, mayBeExecuted = false): Promise<readonly SettleAnswer[]> {
    const { signal } = how;
    const { commands, replicas } = this.#context;
    let isRepetition = mayBeExecuted;
    for (;;) {
      const left = batch.filter(({ delivery }) => session.isOutstanding(delivery));
      if (left.length === 0) return batch.map(() => "lost");
      try {
        let connection = session.current ?? (await session.connection(signal));
        if (commands.ramp) {
          await commands.ramp.pass(left.length, signal);
          connection = await session.connection(signal);
        }
        const still = left.filter(({ delivery }) => session.isOutstanding(delivery)); // attaching may have told otherwise
        const there = await this.#execute(session, connection, still, isRepetition || session.hasClaims, how);
        if (replicas) await this.#replicated(connection, replicas);
        const early: readonly Prepared[] = session.hasClaims
          ? still.filter(({ delivery }, i) => there[i] === false && session.isClaimed(delivery))
          : NOTHING;
        const ended = early.length === 0 ? still : still.filter((each) => !early.includes(each));
        for (const { delivery } of ended) session.forget(delivery);
        if (session.isFair) tellEnds(this.#context, connection, session.worker, ended.map(({ delivery }) => delivery)); // prettier-ignore
        const told = there.map((isThere): SettleAnswer => (isRepetition || isThere ? "settled" : "lost"));
        if (still.length === batch.length && early.length === 0) return told;
        const answers = new Map(still.map(({ delivery }, i) => [delivery, told[i]]));
        if (early.length > 0) {
          const later = await this.#send(session, early, how);
          early.forEach(({ delivery }, i) => answers.set(delivery, later[i]));
        }
        return batch.map(({ delivery }) => answers.get(delivery) ?? "lost");
      } catch (error) {
        if (error instanceof RedisGoneError && error.sent) isRepetition = true;
        if (error instanceof RedisAnswerError && !error.transient) {
          if (batch.length === 1) return this.#refused(left[0] as Prepared, error);
          const halves = [batch.slice(0, batch.length >> 1), batch.slice(batch.length >> 1)];
          return (await Promise.all(halves.map(async (half) => await this.#send(session, half, how, isRepetition)))).flat();
        }
        await this.#waitOut(error, session, signal);
      }
    }
  }

  #refused({ delivery }: Prepared, error: RedisAnswerError): readonly SettleAnswer[] {
    const { queue, loan } = delivery;
    this.#context.logger.error({ err: error, queue, loan }, `Redis refuses to settle a message of ${queue}: ${error.message}`);
    return ["refused"];
  }

  /** What is not replicated in time is settled all the same: after a failover it may run again, and nothing is lost. */
  async #replicated(connection: RedisConnection, replicas: ReplicaOptions): Promise<void> {
    const { clock, logger } = this.#context;
    if (clock.monotonic() < this.#lookForReplicasAt) return;
    try {
      await replicated(connection, { count: replicas.count, waitMs: Math.min(replicas.waitMs, REPLICAS_WAIT_MS) });
      this.#lookForReplicasAt = 0;
    } catch (error) {
      if (!(error instanceof RedisAnswerError)) throw error;
      if (this.#lookForReplicasAt === 0) logger.warn({ err: error }, `settled, but not replicated: ${error.message}`);
      this.#lookForReplicasAt = clock.monotonic() + NO_REPLICAS_MS;
    }
  }

  /** Returns when it is worth trying again; throws what no waiting changes. */
  async #waitOut(error: unknown, session: WorkerSession | undefined, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const { clock, random, commands } = this.#context;
    if (error instanceof RedisGoneError) {
      if (!error.sent && commands.current === undefined && session === undefined) await sleep(clock, RETRY_PAUSE_MS * random(), signal);
      return;
    }
    if (!(error instanceof RedisAnswerError) || !error.transient) throw brokerError(this.#context.location, error);
    await sleep(clock, RETRY_PAUSE_MS * (0.5 + random() / 2), signal);
  }

  async #execute(
    session: WorkerSession,
    connection: RedisConnection,
    batch: readonly Prepared[],
    mayBeGone: boolean,
    { results, completed }: Sending,
  ): Promise<readonly boolean[]> {
    const { keys, args, order } = settleCall(this.#context, session, batch, mayBeGone, results);
    const answer = await connection.script(settleScript, keys, args);
    if (answer === ALL_WERE_THERE) return batch.map(() => true);
    const flags = readFlags(answer, order.length);
    const byDelivery = new Map(order.map(({ delivery }, i) => [delivery, flags[i] !== NOT_THERE]));
    order.forEach(({ settlement }, i) => flags[i] === HAS_COMPLETED && completed?.(settlement));
    return batch.map(({ delivery }) => byDelivery.get(delivery) as boolean);
  }
}

function batches(prepared: readonly Prepared[]): readonly (readonly Prepared[])[] {
  const all: Prepared[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const each of prepared) {
    const last = all.at(-1);
    bytes += each.bytes;
    if (last && last.length < BATCH && bytes <= BATCH_BYTES) {
      last.push(each);
    } else {
      all.push([each]);
      bytes = each.bytes;
    }
  }
  return all;
}

function readFlags(answer: Answer, count: number): Buffer {
  if (!Buffer.isBuffer(answer) || answer.length !== count)
    throw new RedisAnswerError("ERR settle.lua answered for another number of loans");
  return answer;
}
