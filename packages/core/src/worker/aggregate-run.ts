/**
 * The run of a message that was made of calls. The message is on loan, the calls are not: each call is settled for itself,
 * idempotent by its id, and the message's loan ends after all of them. A crash in between runs them again.
 */
import { AGGREGATE_HEADER } from "../app/aggregate-task.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import { readTaskMessage } from "../protocol/task-message.ts";
import type { Request, RequestHome } from "./request.ts";
import { Request as CallRequest } from "./request.ts";

export function isAggregate({ received, options }: Request): boolean {
  return options.aggregate !== undefined && typeof received.headers[AGGREGATE_HEADER] === "number";
}

/** The calls that a message was made of, as requests without a loan. @throws ProtocolError when it holds something else */
export function callsOf(carrier: Request, accept: ReadonlySet<string>, home: RequestHome): readonly Request[] {
  const { args } = carrier.received.body();
  return args.map((text) => {
    const { message, info } = decodeEnvelope(String(text));
    const call = new CallRequest(carrier.delivery, readTaskMessage(message, info, { accept }), carrier.task, home);
    call.isAcked = true; // when it was folded, its loan ended
    return call;
  });
}
