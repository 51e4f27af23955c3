/**
 * What an interrupted or repeated task takes along of its iterations: a header of its message. Pure.
 * A message that was begun does not expire any more: what expires is the wait for its begin.
 */
import { ITERATION_HEADER } from "../app/iteration.ts";
import type { LoanEnd } from "../brokers/broker.ts";
import type { Message } from "../protocol/message.ts";
import type { EndedRun } from "./ended-run.ts";

const NONE: Readonly<Record<string, never>> = {};

/** The message as it is to be while its task is under way: it goes on from `text`. */
export function continuation({ message }: { readonly message: Message }, text: string): Message {
  const { headers } = message;
  const begun = headers["expires"] === undefined || headers["expires"] === null ? NONE : { expires: null };
  return { ...message, headers: { ...headers, ...begun, [ITERATION_HEADER]: text } };
}

/** Headers that a retry or a snooze adds. */
export function iterationHeaders({ iterated }: EndedRun): Readonly<Record<string, string>> {
  return iterated === undefined ? NONE : { [ITERATION_HEADER]: iterated.text };
}

/** The end of a loan whose message runs again: from where it has come to. */
export function goingOn(end: LoanEnd, { iterated, received }: EndedRun): LoanEnd {
  return iterated === undefined || end.kind !== "requeue" ? end : { ...end, message: continuation(received, iterated.text) };
}
