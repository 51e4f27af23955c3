/** Locks of unique tasks: an optional part of a broker. The lock and its message are one step: neither is there without the other. */
import { AGGREGATE_HEADER } from "../protocol/aggregate.ts";
import { quote } from "../protocol/json.ts";
import { readTaskMessage } from "../protocol/task-message.ts";
import { readUnique, UNIQUE_HEADER, type UniqueMode } from "../protocol/unique.ts";
import type { FoundMessage, MessageSearch } from "./search.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import type { Outgoing, PublishOptions } from "./broker.ts";

export interface Uniques {
  /**
   * Publishes a message whose `unique` is set, together with taking its lock; or finds the lock held, and publishes nothing.
   * The same message again, after a broken connection, finds its own lock.
   * @throws BrokerUnavailableError, BrokerRefusedError for one that does not reach exactly one queue; the signal's reason: nobody knows then
   */
  publish(outgoing: Outgoing, options?: PublishOptions): Promise<UniqueAnswer>;
  /** What becomes of locks where that is not part of a settlement. Idempotent. */
  step(steps: readonly UniqueStep[]): Promise<void>;
  /** Locks in force, of one queue or of all; no more than `limit`. */
  list(options: { readonly limit: number; readonly queue?: string | undefined }): Promise<readonly UniqueLock[]>;
  /** Takes a lock from whoever holds it, as if its task had ended. The id that held it; undefined: nobody did. */
  break(name: string): Promise<string | undefined>;
}

/** `id`: of the task that stands for the call: its own, or, as a duplicate, another's. */
export interface UniqueAnswer {
  readonly id: string;
  readonly isDuplicate: boolean;
}

/** Does nothing unless the task holds the lock. */
export interface UniqueStep {
  readonly name: string;
  readonly taskId: string;
  /** The queue that the task came from. */
  readonly queue: string;
  readonly what:
    | { readonly kind: "free" }
    /** It goes on, such as by a retry, for so long. */
    | { readonly kind: "keep"; readonly ttlMs: number }
    /** Its message is gone and it runs on in this worker (early ack): the lock ends with the worker's lease. */
    | { readonly kind: "own"; readonly worker: string };
}

export interface UniqueLock {
  readonly name: string;
  readonly mode: UniqueMode;
  readonly taskId: string;
  readonly queue: string;
  /** ms since 1970. */
  readonly since: number;
  readonly until: number;
  /** Of `last`: the task that waits for its turn. */
  readonly nextTaskId: string | undefined;
  /** Its task was acknowledged early and runs there: the lock ends with that worker's lease. */
  readonly worker: string | undefined;
}

/** The envelope of a call that stands for an earlier one of another id: whole JSON strings are replaced, such as its id and its root's. */
export function underId(envelope: string, from: string, to: string): string {
  return from === to ? envelope : envelope.replaceAll(quote(from), () => quote(to));
}

/** Why a unique message is refused. */
export function oneQueueOnly(queues: number): string {
  return `a unique task must reach exactly one queue, and its exchange and routing key reach ${queues}`;
}

/** More than anybody waits for: each is looked up, and a lock that is left behind refuses calls until it ends by itself. */
const LOCKS_MAX = 1_000_000;
const FREED_AT_ONCE = 1000;

/**
 * Purges a queue, and frees the locks of what was in it. What is on loan keeps its own, and so does what runs without a loan; one that is
 * held for a time ends with that time. Only locks that were there before the purge are looked at: others are of messages that came later.
 */
export async function purgeWithLocks(
  uniques: Uniques,
  search: MessageSearch,
  queue: string,
  purge: () => Promise<number>,
): Promise<number> {
  const locks = await uniques.list({ limit: LOCKS_MAX, queue });
  const gone = new Map<string, UniqueStep>();
  for (const { name, taskId, mode, worker } of locks)
    if (mode !== "time" && worker === undefined) gone.set(taskId, { name, taskId, queue, what: { kind: "free" } });
  const purged = await purge();
  if (gone.size === 0) return purged;
  for await (const page of search.messages({ queues: [queue], limit: 10 * LOCKS_MAX }))
    for (const found of page) for (const id of idsIn(found)) gone.delete(id);
  const steps = [...gone.values()];
  for (let from = 0; from < steps.length; from += FREED_AT_ONCE) await uniques.step(steps.slice(from, from + FREED_AT_ONCE));
  return purged;
}

/** For a message that ends without a worker; none for a lock that is held for a time. A text that does not name the header is not parsed. */
export function freeingStep(raw: string | Uint8Array, queue: string): UniqueStep | undefined {
  if (!Buffer.from(raw as string).includes(UNIQUE_HEADER)) return undefined;
  try {
    const { headers } = decodeEnvelope(raw).message;
    const rule = readUnique(headers[UNIQUE_HEADER]);
    if (rule === undefined || rule.mode === "time") return undefined;
    return { name: rule.name, taskId: String(headers["id"]), queue, what: { kind: "free" } };
  } catch {
    return undefined;
  }
}

/** Its own, and those of the calls that it was made of. */
function idsIn({ raw }: FoundMessage): readonly string[] {
  try {
    const { message, info } = decodeEnvelope(raw);
    const id = String(message.headers["id"]);
    if (message.headers[AGGREGATE_HEADER] === undefined) return [id];
    const { args } = readTaskMessage(message, info, { accept: new Set([message.contentType]) }).body();
    return [id, ...args.map((text) => String(decodeEnvelope(String(text)).message.headers["id"]))];
  } catch {
    return [];
  }
}
