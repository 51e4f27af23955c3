/** Where the messages of tasks are: waiting, parked, on loan, dead. Reads the broker's messages in pages; nothing is moved. */
import type { Broker, DeadLetter, MessagePlace } from "../../brokers/broker.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { readTaskMessage, type ReceivedTask } from "../../protocol/task-message.ts";

/** Where a task is that has not ended well. `gone`: no message was found; `unknown`: not all messages were looked at. */
export type Whereabouts =
  | MessagePlace
  | { readonly kind: "dead"; readonly queue: string; readonly reason: string; readonly error: string }
  | { readonly kind: "gone" }
  | { readonly kind: "unknown" };

export interface KnownMessage {
  readonly received: ReceivedTask;
  readonly where: MessagePlace | Extract<Whereabouts, { kind: "dead" }>;
}

export interface Wanted {
  readonly ids: ReadonlySet<string>;
  /** All members of these groups. */
  readonly groups: ReadonlySet<string>;
  /** Any task whose chain or body has this id in it. */
  readonly follower?: string | undefined;
}

export interface Found {
  readonly messages: readonly KnownMessage[];
  /** There are more messages than were looked at: what was not found may be there all the same. */
  readonly isPartial: boolean;
}

const PAGE = 500;
const ID_OR_GROUP = /"(?:id|group)": ?"([^"]{1,1000})"/g;

/** @param limit messages, and dead letters, that are looked at at most */
export async function findMessages(broker: Broker, queues: readonly string[], wanted: Wanted, limit: number): Promise<Found> {
  const messages: KnownMessage[] = [];
  const known = new Set<string>();
  let looked = 0;
  const look = (raw: string | Uint8Array, where: KnownMessage["where"]): void => {
    looked += 1;
    const received = wantedTask(raw, wanted);
    if (received === undefined || known.has(received.id)) return; // one that moved meanwhile, or is delivered twice
    known.add(received.id);
    messages.push({ received, where });
  };
  const isComplete = (): boolean => wanted.groups.size === 0 && wanted.follower === undefined && known.size === wanted.ids.size;
  for await (const page of broker.search?.messages({ queues, limit }) ?? []) {
    for (const { at, raw } of page) look(raw, at);
    if (isComplete()) return { messages, isPartial: false };
  }
  let isPartial = broker.search === undefined || looked >= limit;
  for (const queue of broker.deadLetters === undefined ? [] : queues) {
    const letters = await lettersOf(broker, queue, wanted, limit);
    for (const letter of letters.found) look(letter.raw, { kind: "dead", queue, reason: letter.reason, error: letter.error });
    isPartial ||= letters.isPartial;
  }
  return { messages, isPartial };
}

/** By their ids where those are all that is asked for; else all of them. */
async function lettersOf(
  broker: Broker,
  queue: string,
  wanted: Wanted,
  limit: number,
): Promise<{ found: DeadLetter[]; isPartial: boolean }> {
  const letters = broker.deadLetters;
  const found: DeadLetter[] = [];
  if (letters === undefined) return { found, isPartial: false };
  if (wanted.groups.size === 0 && wanted.follower === undefined && wanted.ids.size <= PAGE) {
    for (const letter of await Promise.all([...wanted.ids].map((id) => letters.get(queue, id))))
      if (letter !== undefined) found.push(letter);
    return { found, isPartial: false };
  }
  let cursor: string | undefined;
  do {
    const page = await letters.page(queue, { limit: PAGE, ...(cursor !== undefined && { cursor }) });
    found.push(...page.entries);
    cursor = page.cursor;
  } while (cursor !== undefined && found.length < limit);
  return { found, isPartial: cursor !== undefined };
}

/** Also a header of the user's may be called so, before or behind the task's own: the decoded message decides. */
function mayBeNamed(text: string, ids: ReadonlySet<string>, groups: ReadonlySet<string>): boolean {
  for (const [, id = ""] of text.matchAll(ID_OR_GROUP)) if (ids.has(id) || groups.has(id)) return true;
  return false;
}

/** Decoded only when its text says that it may be one. */
function wantedTask(raw: string | Uint8Array, { ids, groups, follower }: Wanted): ReceivedTask | undefined {
  const text = typeof raw === "string" ? raw : Buffer.from(raw).toString("latin1");
  if (follower === undefined && !mayBeNamed(text, ids, groups)) return undefined;
  try {
    const { message, info } = decodeEnvelope(raw);
    const received = readTaskMessage(message, info, { accept: new Set([message.contentType]) });
    if (ids.has(received.id) || (received.group !== undefined && groups.has(received.group))) return received;
    if (follower === undefined) return undefined;
    const { chain, chord, callbacks, errbacks } = received.body().embed;
    return JSON.stringify([chain, chord, callbacks, errbacks]).includes(`"${follower}"`) ? received : undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
