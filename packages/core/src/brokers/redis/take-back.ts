/**
 * Returns loans of a worker to the front of their lists, in the order in which they were lent, marked as delivered before.
 * Envelopes are edited here and moved by a script that skips what was settled meanwhile.
 */
import { isUtf8 } from "node:buffer";

import { markRedelivered } from "../../protocol/envelope.ts";
import { newId } from "../../shared/ids.ts";
import { asList, asNumber } from "../../stores/redis/answers.ts";
import type { Argument, RedisConnection } from "../../stores/redis/connection.ts";
import {
  deadIndexKey,
  deadKey,
  dueKey,
  listKey,
  loansKey,
  parkedKey,
  sweptKey,
  uniqueKey,
  uniquesKey,
  workersKey,
} from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { DeadLetterRecord } from "../broker.ts";
import { afterLoss } from "../losses.ts";
import { freeingStep, type UniqueStep } from "../uniques.ts";
import { type RedisContext, SWEPT_MARK_MS } from "./context.ts";
import { capsArgument } from "./dead-letters.ts";
import { splitLoan } from "./delivery.ts";
import { readBegun, readLosses, withLosses } from "./losses.ts";

const takeBackScript = loadScript("take-back");
const stepScript = loadScript("unique-step");

const PORTION = 32;

export type TakeBack =
  /** The worker's lease ran out: a loss, and at `maxDeliveries` losses a dead letter. */
  | { readonly why: "expired"; readonly maxDeliveries: number; readonly now: number }
  /** By hand, or at the worker's own end: not a loss. */
  | { readonly why: "released" }
  /** A new process under an old name found them: a loss. */
  | { readonly why: "own"; readonly epoch: string };

/** Undefined when the worker turned out to be alive. */
export async function returnLoans(
  context: RedisContext,
  connection: RedisConnection,
  worker: string,
  loans: readonly string[],
  how: TakeBack,
): Promise<{ readonly returned: number; readonly deadLettered: number } | undefined> {
  const { shard } = context;
  // The last lent goes first: what is pushed last is taken next.
  const newestFirst = loans.toSorted((a, b) => splitLoan(b).number - splitLoan(a).number);
  const mark = newId();
  let returned = 0;
  let deadLettered = 0;
  // Once even with no loans at all: the epoch goes, so that the worker learns of it.
  for (let from = 0; from === 0 || from < newestFirst.length; from += PORTION) {
    const portion = newestFirst.slice(from, from + PORTION);
    const entries = portion.length === 0 ? [] : asList(await connection.command("HMGET", [loansKey(shard, worker), ...portion]));
    const plan = planMoves(context, worker, portion, entries, how);
    const keys = [loansKey(shard, worker), workersKey(shard), sweptKey(shard, worker), ...plan.lists, ...plan.dead];
    const args: Argument[] = [
      worker,
      how.why,
      how.why === "own" ? how.epoch : mark,
      SWEPT_MARK_MS,
      capsArgument(context.deadLetterCaps),
      plan.lists.length,
      ...plan.moves,
    ];
    const answer = await connection.script(takeBackScript, keys, args);
    if (answer === -1) return undefined;
    const [back, dead] = asList(answer).map(asNumber);
    await freeLocks(context, connection, plan.ended);
    returned += back ?? 0;
    deadLettered += dead ?? 0;
  }
  return { returned, deadLettered };
}

/** After the letters are buried: a crash in between leaves their locks to end by themselves. */
async function freeLocks({ shard }: RedisContext, connection: RedisConnection, steps: readonly UniqueStep[]): Promise<void> {
  for (const { name, taskId, queue } of steps) {
    const list = listKey(shard, queue, 0);
    const keys = [uniqueKey(shard, name), uniquesKey(shard), parkedKey(shard, queue), dueKey(shard), list];
    await connection.script(stepScript, keys, [name, taskId, "free", "", queue]);
  }
}

interface Moves {
  readonly lists: readonly string[];
  readonly dead: readonly string[];
  readonly moves: readonly Argument[];
  /** Locks of what no worker ends any more. */
  readonly ended: readonly UniqueStep[];
}

interface Move {
  readonly loan: string;
  readonly list: string;
  readonly text: string | Buffer;
  readonly record?: DeadLetterRecord;
  readonly ended?: UniqueStep | undefined;
}

function planMoves(context: RedisContext, worker: string, loans: readonly string[], entries: readonly unknown[], how: TakeBack): Moves {
  const moves: Move[] = [];
  loans.forEach((loan, i) => {
    const raw = entries[i];
    if (Buffer.isBuffer(raw)) moves.push(planMove(worker, queueOf(context, splitLoan(loan).list), loan, raw, how));
  });
  const lists = [...new Set(moves.filter((move) => !move.record).map((move) => move.list))];
  const queues = [...new Set(moves.filter((move) => move.record).map((move) => queueOf(context, move.list)))];
  const firstList = 4;
  const firstDead = firstList + lists.length;
  return {
    lists,
    ended: moves.flatMap(({ ended }) => ended ?? []),
    dead: queues.flatMap((queue) => [deadKey(context.shard, queue), deadIndexKey(context.shard, queue)]),
    moves: moves.flatMap((move) =>
      move.record
        ? [move.loan, firstDead + 2 * queues.indexOf(queueOf(context, move.list)), move.record.id, JSON.stringify(move.record)]
        : [move.loan, firstList + lists.indexOf(move.list), move.text, ""],
    ),
  };
}

function planMove(worker: string, queue: string, loan: string, raw: Buffer, how: TakeBack): Move {
  const { list } = splitLoan(loan);
  const known = readLosses(raw);
  const losses = how.why === "released" ? known : afterLoss({ losses: known, hasBegun: readBegun(raw), bytes: raw.length });
  const envelope = isUtf8(raw) ? markedText(raw.toString(), losses) : undefined;
  if (how.why !== "expired" || losses < how.maxDeliveries || envelope === undefined) return { loan, list, text: envelope ?? raw };
  const { id, task, retries } = glimpse(envelope);
  const error = `the worker was lost ${losses} times while it held this message, the last time ${worker}`;
  return {
    loan,
    list,
    text: "",
    record: { id, task, reason: "poison", error, worker, at: how.now, losses, retries },
    ended: freeingStep(raw, queue),
  };
}

/** Undefined for what is no envelope: it goes back as it is, and whoever takes it next dead-letters it. */
function markedText(text: string, losses: number): string | undefined {
  try {
    return withLosses(markRedelivered(text), losses);
  } catch {
    return undefined;
  }
}

/** Only what a dead letter's record shows; the envelope itself is kept as it is. */
function glimpse(envelope: string): { id: string; task: string | undefined; retries: number } {
  try {
    const { headers } = JSON.parse(envelope) as { headers?: { id?: unknown; task?: unknown; retries?: unknown } };
    return {
      id: typeof headers?.id === "string" ? headers.id : newId(),
      task: typeof headers?.task === "string" ? headers.task : undefined,
      retries: typeof headers?.retries === "number" ? headers.retries : 0,
    };
  } catch {
    return { id: newId(), task: undefined, retries: 0 };
  }
}

/** The queue that a list belongs to: what comes before the last separator (celery-protocol.md, section 3.5). */
export function queueOf(context: Pick<RedisContext, "shard">, list: string): string {
  const name = list.slice(context.shard.prefix.length);
  const end = name.lastIndexOf(context.shard.separator);
  return end === -1 ? name : name.slice(0, end);
}
