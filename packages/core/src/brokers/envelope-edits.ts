/**
 * What brokers that keep envelopes change in them or read out of them. None of these throws on what is no envelope:
 * such a text is kept as it is until a worker has dead-lettered it.
 */
import { setMember } from "../protocol/envelope-edit.ts";
import { decodeEnvelope, markRedelivered } from "../protocol/envelope.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { Message } from "../protocol/message.ts";
import { replaceMessage } from "../protocol/replace-message.ts";
import { newId } from "../shared/ids.ts";
import type { DeadLetterReason, DeadLetterRecord } from "./broker.ts";

export type Envelope = string | Uint8Array;

/** The envelope, marked as not its first delivery. */
export function redelivered(envelope: Envelope): Envelope {
  const text = typeof envelope === "string" ? envelope : new TextDecoder().decode(envelope);
  return ifDecodable(() => markRedelivered(text), envelope);
}

/** The envelope with another message in it: its address, its delivery tag and its mark stay. */
export function replaced(envelope: Envelope, message: Message): Envelope {
  return ifDecodable(() => replaceMessage(envelope, message), envelope);
}

/** Set by workers that did not know its task (`worker/unknown-task.ts`): it may wait for one as long as at first. */
const UNKNOWN_SINCE = "lovage_unknown_since";

/**
 * The envelope of a dead letter as a message that begins anew: a delivery tag of its own, no retries behind it, and no
 * deadline that would end it at once. Its other bytes stay. What is no envelope stays as it was.
 */
export function begunAnew(envelope: Envelope, reason: DeadLetterReason): Envelope {
  return ifDecodable(() => {
    const { headers } = decodeEnvelope(envelope).message;
    let text = typeof envelope === "string" ? envelope : new TextDecoder().decode(envelope);
    text = setMember(text, ["properties"], "delivery_tag", JSON.stringify(newId()));
    if (typeof headers["retries"] === "number" && headers["retries"] > 0) text = setMember(text, ["headers"], "retries", "0");
    if (typeof headers[UNKNOWN_SINCE] === "number") text = setMember(text, ["headers"], UNKNOWN_SINCE, "null");
    if (reason === "expired" && typeof headers["expires"] === "string") text = setMember(text, ["headers"], "expires", "null");
    return text;
  }, envelope);
}

export function priorityOf(envelope: Envelope): number {
  return ifDecodable(() => decodeEnvelope(envelope).message.properties.priority, 0);
}

/** The record of a message that was lost too often. */
export function poisonRecord(envelope: Envelope, losses: number, worker: string, at: number): DeadLetterRecord {
  const { id, task, retries } = ifDecodable(() => decodeEnvelope(envelope).message.headers, {});
  return {
    id: typeof id === "string" ? id : newId(),
    task: typeof task === "string" ? task : undefined,
    reason: "poison",
    error: `lost ${losses} times with the worker that held it`,
    worker,
    at,
    losses,
    retries: typeof retries === "number" ? retries : 0,
  };
}

function ifDecodable<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) return otherwise;
    throw error;
  }
}
