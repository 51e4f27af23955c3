/** The message of the next attempt (celery-protocol 7.7). */
import type { Message, WireInstant } from "./message.ts";
import type { ReceivedTask } from "./received-task.ts";
import { PROTOCOL_HEADERS } from "./task-headers.ts";
import { encodeTaskMessage, type MessageCodec, type OutgoingTask } from "./task-message.ts";

export interface RetryChanges {
  readonly retries: number;
  readonly eta: WireInstant | null;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly expires?: WireInstant | null;
  readonly timeLimitMs?: number;
  readonly softTimeLimitMs?: number;
  readonly priority?: number;
  /** Added to the user's headers. */
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly parentId?: string;
}

/** RabbitMQ would take a copied x-death for a cycle; `redelivered` was true of the old message only. */
const NOT_REPEATED = /^x-(death|first-death|last-death|delivery-count)|^redelivered$/;

/** Everything as it was but for the changes; the body's bytes are kept where they can be. */
export function retryMessage(received: ReceivedTask, changes: RetryChanges, codec: MessageCodec): Message {
  const { message } = received;
  const keepsBody = changes.args === undefined && changes.kwargs === undefined && received.protocol === 2;
  const expires = changes.expires === undefined ? received.expires : (changes.expires ?? undefined);
  const source = keepsBody ? message : encodeTaskMessage(rewritten(received, changes), { ...codec, now: 0 });
  const limit = (ms: number | undefined): number | null => (ms === undefined ? null : ms / 1000);
  const headers = {
    ...repeated(source.headers),
    ...users(changes.headers ?? {}),
    retries: changes.retries,
    eta: changes.eta?.text ?? null,
    expires: expires?.text ?? null,
    parent_id: changes.parentId ?? received.parentId ?? null,
    timelimit: [limit(changes.timeLimitMs ?? received.timeLimitMs), limit(changes.softTimeLimitMs ?? received.softTimeLimitMs)],
  };
  return {
    headers,
    properties: { ...message.properties, priority: changes.priority ?? message.properties.priority },
    contentType: source.contentType,
    contentEncoding: source.contentEncoding,
    body: source.body,
  };
}

function repeated(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_REPEATED.test(name)));
}

function users(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !PROTOCOL_HEADERS.has(name)));
}

function rewritten(received: ReceivedTask, changes: RetryChanges): OutgoingTask {
  const { args, kwargs, embed } = received.body();
  const { id, task, shadow, group, groupIndex, rootId, origin, ignoreResult, replacedTaskNesting, stampedHeaders, stamps } = received;
  const headers = repeated(received.headers);
  return {
    id,
    task,
    shadow,
    group,
    groupIndex,
    rootId,
    origin,
    ignoreResult,
    replacedTaskNesting,
    stampedHeaders,
    stamps,
    headers,
    embed,
    args: changes.args ?? args,
    kwargs: changes.kwargs ?? kwargs,
  };
}
