/**
 * Ends loans: turns settlements into calls of `settle.lua` and sends them until they are answered.
 *
 * After a dropped connection a batch is sent again, marked as a repetition. A loan that is gone then, while the lease was
 * never lost, means that the first sending was executed: its answer is "settled".
 */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { replaceMessage } from "../../protocol/replace-message.ts";
import { newId } from "../../shared/ids.ts";
import { sleep } from "../../shared/clock.ts";
import type { Answer, RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import { deadIndexKey, deadKey, dueKey, parkedKey } from "../../stores/redis/keys.ts";
import type { ResultWrite } from "../../results/result-backend.ts";
import type { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { ReplicaOptions } from "../../stores/redis/options.ts";
import { replicated } from "../../stores/redis/replicas.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { LoanEnd, Outgoing, SettleAnswer, Settlement } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { capsArgument } from "./dead-letters.ts";
import { RedisDelivery, redelivered } from "./delivery.ts";
import { brokerError } from "./failures.ts";
import { withLosses } from "./losses.ts";
import type { Route, Router } from "./routing.ts";
import type { WorkerSession } from "./session.ts";

const settleScript = loadScript("settle");

/** One call's settlements: below Lua's limit of values on its stack, and short enough to let others in between. */
const BATCH = 256;
const BATCH_BYTES = 4 * 1024 * 1024;
const RETRY_PAUSE_MS = 500;
const NO_REPLICAS_MS = 2000;
/** Waiting for replicas holds up reserving on the same connection: one that is there answers in a millisecond or two. */
const REPLICAS_WAIT_MS = 100;

/** A settlement with all that was looked up for it. */
interface Prepared {
  readonly delivery: RedisDelivery;
  readonly settlement: Settlement;
  readonly follows: readonly { readonly route: Route; readonly envelope: string }[];
  readonly bytes: number;
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

  /** All of one worker. @throws BrokerRefusedError for a settlement that Redis will never take, or the signal's reason. */
  async settle(
    session: WorkerSession,
    settlements: readonly Settlement[],
    results: SharedRedis | undefined,
    signal?: AbortSignal,
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
        const told = await this.#send(session, batch, results, signal);
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
    const needsLookUp = settlements.some(({ publish }) => publish?.some((each) => this.#router.known(each) === undefined));
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
      const follows = (settlement.publish ?? []).map((each, i) => ({
        route: this.#orHome(routes[i] ?? (this.#router.known(each) as Route), each, delivery),
        envelope: encodeEnvelope(each.message, { exchange: each.exchange, routingKey: each.routingKey }, newId()),
      }));
      let bytes = 0;
      for (const { envelope } of follows) bytes += envelope.length;
      for (const { document } of settlement.results ?? []) bytes += document.length;
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

  async #send(
    session: WorkerSession,
    batch: readonly Prepared[],
    results: SharedRedis | undefined,
    signal: AbortSignal | undefined,
  ): Promise<readonly SettleAnswer[]> {
    const { commands, replicas } = this.#context;
    let isRepetition = false;
    for (;;) {
      const left = batch.filter(({ delivery }) => session.isOutstanding(delivery));
      if (left.length === 0) return batch.map(() => "lost");
      try {
        let connection = await session.connection(signal);
        if (commands.ramp) {
          await commands.ramp.pass(left.length, signal);
          connection = await session.connection(signal);
        }
        const still = left.filter(({ delivery }) => session.isOutstanding(delivery)); // attaching may have told otherwise
        const there = await this.#execute(session, connection, still, isRepetition, results);
        if (replicas) await this.#replicated(connection, replicas);
        const answers = new Map(still.map(({ delivery }, i) => [delivery, isRepetition || there[i] ? "settled" : "lost"] as const));
        for (const { delivery } of still) session.forget(delivery);
        return batch.map(({ delivery }) => answers.get(delivery) ?? "lost");
      } catch (error) {
        if (error instanceof RedisGoneError && error.sent) isRepetition = true;
        if (error instanceof RedisAnswerError && !error.transient) {
          if (batch.length === 1) throw brokerError(this.#context.location, error);
          const halves = [batch.slice(0, batch.length >> 1), batch.slice(batch.length >> 1)];
          return (await Promise.all(halves.map(async (half) => await this.#send(session, half, results, signal)))).flat();
        }
        await this.#waitOut(error, session, signal);
      }
    }
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
    isRepetition: boolean,
    results: SharedRedis | undefined,
  ): Promise<readonly boolean[]> {
    const kinds = sortOut(batch);
    const order = [...kinds.plain, ...kinds.usual, ...kinds.others];
    const { keys, args } = this.#encode(session, kinds, isRepetition, results);
    const there = readFlags(await connection.script(settleScript, keys, args), order.length);
    const byDelivery = new Map(order.map(({ delivery }, i) => [delivery, there[i] as boolean]));
    return batch.map(({ delivery }) => byDelivery.get(delivery) as boolean);
  }

  #encode(
    session: WorkerSession,
    { plain, usual, others, livesMs }: Kinds,
    isRepetition: boolean,
    results: SharedRedis | undefined,
  ): { keys: string[]; args: (string | number | Uint8Array)[] } {
    const { shard, db, deadLetterCaps } = this.#context;
    const lists = new Map<string, number>();
    const parked = new Map<string, number>();
    const dead = new Map<string, number>();
    const index = (map: Map<string, number>, name: string): void => void (map.has(name) || map.set(name, map.size));
    let resultCount = usual.length;
    for (const { delivery, settlement, follows } of others) {
      const end = endOf(settlement);
      if (end.kind === "requeue" || end.kind === "putBack") index(lists, delivery.list);
      else if (end.kind === "park") index(parked, delivery.queue);
      else if (end.kind === "deadLetter") index(dead, delivery.queue);
      for (const { route } of follows) if (route.kind === "lists") for (const list of route.lists) index(lists, list);
      resultCount += settlement.results?.length ?? 0;
    }
    const firstParked = 3 + lists.size;
    const firstDead = firstParked + parked.size;
    let result = firstDead + 2 * dead.size;
    const keys = [session.loansKey, dueKey(shard), ...lists.keys()];
    for (const queue of parked.keys()) keys.push(parkedKey(shard, queue));
    for (const queue of dead.keys()) keys.push(deadKey(shard, queue), deadIndexKey(shard, queue));
    const away = results && resultCount > 0 && results.db !== db ? String(results.db) : "";
    const args: (string | number | Uint8Array)[] = [
      session.epoch,
      isRepetition ? "1" : "",
      db,
      away,
      lists.size,
      parked.size,
      dead.size,
      capsArgument(deadLetterCaps),
      plain.length,
      usual.length,
      secondsOf(livesMs),
    ];
    for (const { delivery } of plain) args.push(nameOf(delivery));
    for (const { delivery, settlement } of usual) args.push(nameOf(delivery), onlyResult(settlement).document);
    for (const { delivery, settlement, follows } of others) {
      args.push(nameOf(delivery));
      this.#encodeEnd(args, delivery, settlement, (map, name, stride = 1) =>
        map === "lists"
          ? 3 + (lists.get(name) as number)
          : map === "parked"
            ? firstParked + (parked.get(name) as number)
            : firstDead + stride * (dead.get(name) as number),
      );
      args.push(settlement.results?.length ?? 0);
      for (const { taskId, expiresMs, document } of settlement.results ?? []) {
        keys.push((results as SharedRedis).keyOf(taskId)); // a caller that gives results gives their backend
        args.push(result++, secondsOf(expiresMs), document);
      }
      let messages = 0;
      for (const { route } of follows) messages += route.kind === "lists" ? route.lists.length : 1;
      args.push(messages);
      for (const { route, envelope } of follows) {
        if (route.kind === "lists") for (const list of route.lists) args.push(3 + (lists.get(list) as number), envelope);
        else if (route.kind === "channel") args.push(0, route.channel, envelope);
      }
    }
    for (const { settlement } of usual) keys.push((results as SharedRedis).keyOf(onlyResult(settlement).taskId));
    return { keys, args };
  }

  #encodeEnd(
    args: (string | number | Uint8Array)[],
    delivery: RedisDelivery,
    settlement: Settlement,
    at: (map: "lists" | "parked" | "dead", name: string, stride?: number) => number,
  ): void {
    const end = endOf(settlement);
    switch (end.kind) {
      case "ack":
        args.push("a");
        return;
      case "requeue":
        args.push(end.to === "front" ? "f" : "b", at("lists", delivery.list), requeuedText(delivery, end.isLoss === true));
        return;
      case "putBack":
        args.push("r", at("lists", delivery.list));
        return;
      case "park":
        args.push("k", at("parked", delivery.queue), Math.round(end.dueAt), delivery.queue, this.#parkedText(delivery, end.message));
        return;
      case "deadLetter":
        args.push("d", at("dead", delivery.queue, 2), end.record.id, JSON.stringify(end.record));
        return;
    }
  }

  /** Empty: as it was. */
  #parkedText(delivery: RedisDelivery, message: Outgoing["message"] | undefined): string {
    if (message === undefined) return "";
    return withLosses(replaceMessage(delivery.raw, message), delivery.losses);
  }
}

/** What is no text stays as it was: nothing can be written into it. */
function requeuedText({ raw, losses }: RedisDelivery, isLoss: boolean): string | Buffer {
  const text = redelivered(raw);
  return isLoss && typeof text === "string" ? withLosses(text, losses + 1) : text;
}

const nameOf = (delivery: RedisDelivery): string => (delivery.isFanout ? "" : delivery.loan);
/** What came through a channel was for everybody: there is no place to return it to. */
const endOf = ({ delivery, end }: Settlement): LoanEnd => (delivery instanceof RedisDelivery && delivery.isFanout ? { kind: "ack" } : end);
/** Nothing follows from it: the common case, and the cheapest for Redis. */
const isPlain = (settlement: Settlement): boolean =>
  endOf(settlement).kind === "ack" && !settlement.results?.length && !settlement.publish?.length;
/** Nothing follows from it but one result, which lives as long as the others of the call: the common case with results. */
const isUsual = ({ settlement, follows }: Prepared, livesMs: number | undefined): boolean =>
  endOf(settlement).kind === "ack" &&
  follows.length === 0 &&
  settlement.results?.length === 1 &&
  onlyResult(settlement).expiresMs === livesMs;
const onlyResult = ({ results }: Settlement): ResultWrite => (results as readonly [ResultWrite])[0];
const secondsOf = (expiresMs: number | undefined): number => (expiresMs === undefined ? 0 : Math.max(1, Math.ceil(expiresMs / 1000)));

/** Settlements in the order in which `settle.lua` takes them. */
interface Kinds {
  readonly plain: readonly Prepared[];
  readonly usual: readonly Prepared[];
  /** What goes to the front is pushed last to first, so that what was lent first is taken first. */
  readonly others: readonly Prepared[];
  readonly livesMs: number | undefined;
}

function sortOut(batch: readonly Prepared[]): Kinds {
  const livesMs = batch.find(({ settlement }) => settlement.results?.length === 1)?.settlement.results?.[0]?.expiresMs;
  const plain: Prepared[] = [];
  const usual: Prepared[] = [];
  const others: Prepared[] = [];
  for (const each of batch) (isPlain(each.settlement) ? plain : isUsual(each, livesMs) ? usual : others).push(each);
  others.sort((a, b) => b.delivery.number - a.delivery.number);
  return { plain, usual, others, livesMs };
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

function readFlags(answer: Answer, count: number): readonly boolean[] {
  if (answer === 1) return Array.from({ length: count }, () => true);
  if (!Buffer.isBuffer(answer) || answer.length !== count)
    throw new RedisAnswerError("ERR settle.lua answered for another number of loans");
  return Array.from(answer, (flag) => flag === 0x31);
}
