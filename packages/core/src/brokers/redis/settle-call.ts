/**
 * A call of `settle.lua`: settlements as keys and arguments, the usual ones in few words.
 */
import { markRedelivered } from "../../protocol/envelope.ts";
import { replaceMessage } from "../../protocol/replace-message.ts";
import type { ResultWrite } from "../../results/result-backend.ts";
import type { Argument } from "../../stores/redis/connection.ts";
import { deadIndexKey, deadKey, dueKey, parkedKey } from "../../stores/redis/keys.ts";
import type { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { LoanEnd, Outgoing, Settlement } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { capsArgument } from "./dead-letters.ts";
import { RedisDelivery, redelivered } from "./delivery.ts";
import { withLosses } from "./losses.ts";
import { type Follow, FollowCall } from "./follow-call.ts";
import { uniqueStepKeys } from "./uniques.ts";
import type { WorkerSession } from "./session.ts";

const NOTHING: readonly never[] = [];

/** A settlement with all that was looked up for it. */
export interface Prepared {
  readonly delivery: RedisDelivery;
  readonly settlement: Settlement;
  readonly follows: readonly Follow[];
  readonly bytes: number;
}

export interface SettleCall {
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
  /** The settlements in the order in which the script answers for them. */
  readonly order: readonly Prepared[];
}

export function settleCall(
  context: RedisContext,
  session: WorkerSession,
  batch: readonly Prepared[],
  isRepetition: boolean,
  results: SharedRedis | undefined,
): SettleCall {
  const { plain, usual, others, livesMs } = sortOut(batch);
  const { shard, db, deadLetterCaps } = context;
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
    resultCount += (settlement.results?.length ?? 0) + (settlement.parts?.length ?? 0);
  }
  const firstParked = 3 + lists.size;
  const firstDead = firstParked + parked.size;
  const keys = [session.loansKey, dueKey(shard), ...lists.keys()];
  for (const queue of parked.keys()) keys.push(parkedKey(shard, queue));
  for (const queue of dead.keys()) keys.push(deadKey(shard, queue), deadIndexKey(shard, queue));
  const away = results && resultCount > 0 && results.db !== db ? String(results.db) : "";
  const args: Argument[] = [
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
  const call = new FollowCall(keys, args, results);
  for (const { delivery, settlement, follows } of others) {
    args.push(nameOf(delivery));
    encodeEnd(args, delivery, settlement, (map, name, stride = 1) =>
      map === "lists"
        ? 3 + (lists.get(name) as number)
        : map === "parked"
          ? firstParked + (parked.get(name) as number)
          : firstDead + stride * (dead.get(name) as number),
    );
    const { results: writes = NOTHING, parts = NOTHING } = settlement;
    call.addResults(writes, parts);
    call.addParts(parts);
    const { unique } = settlement;
    const lock = unique && { step: unique, keys: uniqueStepKeys(shard, unique.name, unique.queue, delivery.list) };
    call.addMessages(follows, (list) => 3 + (lists.get(list) as number), lock);
  }
  for (const { settlement } of usual) keys.push((results as SharedRedis).keyOf(onlyResult(settlement).taskId));
  return { keys, args, order: [...plain, ...usual, ...others] };
}

function encodeEnd(
  args: Argument[],
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
      args.push(end.to === "front" ? "f" : "b", at("lists", delivery.list), requeuedText(delivery, end));
      return;
    case "putBack":
      if (delivery.hasBegun) args.push("f", at("lists", delivery.list), unbegun(delivery));
      else args.push("r", at("lists", delivery.list));
      return;
    case "park":
      args.push("k", at("parked", delivery.queue), Math.round(end.dueAt), delivery.queue, parkedText(delivery, end.message));
      return;
    case "deadLetter":
      args.push("d", at("dead", delivery.queue, 2), end.record.id, JSON.stringify(end.record));
      return;
  }
}

/** Empty: as it was. */
function parkedText(delivery: RedisDelivery, message: Outgoing["message"] | undefined): string {
  if (message === undefined) return delivery.hasBegun ? unbegun(delivery) : "";
  return withLosses(replaceMessage(delivery.raw, message), delivery.losses);
}

/** As it stands, but for its beginning. */
function unbegun({ raw, standing, losses }: RedisDelivery): string {
  return withLosses(standing ?? raw.toString(), losses);
}

/** What is no text stays as it was: nothing can be written into it. */
function requeuedText({ raw, losses, fair }: RedisDelivery, end: Extract<LoanEnd, { kind: "requeue" }>): string | Buffer {
  const { to, isLoss, message } = end;
  const marked = message === undefined ? redelivered(raw) : withLosses(markRedelivered(replaceMessage(raw, message)), losses);
  if (typeof marked !== "string") return marked;
  const text = fair !== undefined && to === "back" ? marked.trimStart() : marked; // the space in front says: to the front of its key
  return isLoss === true ? withLosses(text, losses + 1) : text;
}

const nameOf = (delivery: RedisDelivery): string => (delivery.isFanout ? "" : delivery.loan);
/** What came through a channel was for everybody: there is no place to return it to. */
const endOf = ({ delivery, end }: Settlement): LoanEnd => (delivery instanceof RedisDelivery && delivery.isFanout ? { kind: "ack" } : end);
/** Nothing follows from it: the common case, and the cheapest for Redis. */
const isPlain = (settlement: Settlement): boolean =>
  endOf(settlement).kind === "ack" &&
  !settlement.results?.length &&
  !settlement.publish?.length &&
  !settlement.parts?.length &&
  !settlement.unique;
/** Nothing follows from it but one result, which lives as long as the others of the call: the common case with results. */
const isUsual = ({ settlement, follows }: Prepared, livesMs: number | undefined): boolean =>
  endOf(settlement).kind === "ack" &&
  follows.length === 0 &&
  !settlement.parts?.length &&
  !settlement.unique &&
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
