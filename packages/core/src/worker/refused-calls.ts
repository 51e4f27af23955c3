/**
 * A message made of calls that will never run: each call ends as its message does, and before it, so that nobody waits for one for ever.
 * The message is kept whole; a crash in between refuses all of it again.
 */
import { AGGREGATE_HEADER } from "../protocol/aggregate.ts";
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import { readTaskMessage, type ReceivedTask } from "../protocol/task-message.ts";
import type { SettlementRules } from "./ended-run.ts";
import type { Refusal } from "./observer.ts";
import type { SettlementAnswer, SettlementOwner, Settler } from "./settle.ts";
import { type PlannedSettlement, planRefusal } from "./settlement.ts";

const NOTHING: readonly never[] = [];

/** Its headers at least could be read. */
export interface RefusedTask extends Refusal {
  readonly received: ReceivedTask;
  /** Of the task, where it is known. */
  readonly options?: ResolvedTaskOptions | undefined;
}

/** What is done about it, in this order. Pure. @param now ms since 1970, by the broker's clock */
export function planRefusals(
  refusal: RefusedTask,
  rules: SettlementRules,
  accept: ReadonlySet<string>,
  now: number,
): readonly PlannedSettlement[] {
  const { reason, error, delivery, received, options } = refusal;
  const own = planRefusal(reason, error, delivery, received, rules, now, options);
  const calls = callsIn(received, accept);
  if (calls.length === 0) return [own];
  // The message is kept under its own id, so that no call's result says that it is.
  const rulesOfCalls = { ...rules, keepsDeadLetters: false };
  const ofCalls = calls.map((call): PlannedSettlement => {
    const planned = planRefusal(reason, error, delivery, call, rulesOfCalls, now, options);
    return {
      ...planned,
      delivery: undefined,
      queue: delivery.queue,
      results: planned.results ?? NOTHING,
      publish: planned.publish ?? NOTHING,
    };
  });
  return [...ofCalls, { ...own, publish: NOTHING }]; // whoever is told of dead letters has heard of each call
}

/** Settles all but the last together, and then the last, whose owner hears of it. */
export function settleInOrder(settler: Settler, settlements: readonly PlannedSettlement[], owner: SettlementOwner): void {
  const first = settlements.slice(0, -1);
  const last = settlements.at(-1) as PlannedSettlement; // there is always one
  if (first.length === 0) return settler.add(last, owner);
  let left = first.length;
  let isAbandoned = false;
  const settled = (answer: SettlementAnswer): void => {
    isAbandoned ||= answer !== "settled";
    left -= 1;
    if (left > 0) return;
    if (isAbandoned) owner.settled("abandoned");
    else settler.add(last, owner);
  };
  for (const settlement of first) settler.add(settlement, { settled });
}

/** Those of its calls whose headers can be read; none for a message that was not made of any. */
export function callsIn(received: ReceivedTask, accept: ReadonlySet<string>): readonly ReceivedTask[] {
  if (typeof received.headers[AGGREGATE_HEADER] !== "number") return NOTHING;
  try {
    return received.body().args.flatMap((text): ReceivedTask[] => {
      try {
        return [readCall(text, accept)];
      } catch {
        return []; // nobody knows its id
      }
    });
  } catch {
    return NOTHING; // nor what the message holds
  }
}

/** @throws ProtocolError when it is no envelope of a task */
export function readCall(text: unknown, accept: ReadonlySet<string>): ReceivedTask {
  const { message, info } = decodeEnvelope(String(text));
  return readTaskMessage(message, info, { accept });
}
