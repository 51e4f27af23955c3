/** Settings of the app as a whole, of tasks, and of the messages that carry them. */
import { PRIORITY_FIRST, PRIORITY_LAST } from "../priority.ts";
import { duration, flag, integer, oneOf, optional, optionalDuration, text, textList } from "../setting-kinds.ts";
import {
  annotations,
  deadLetter,
  deadLettersByQueue,
  limitsByQueue,
  protocolVersion,
  publishRetryPolicy,
  rate,
  timeZone,
} from "../setting-values.ts";
import { setting } from "./setting.ts";

export const TASK_SETTINGS = {
  // General
  preset: setting(
    optional(oneOf("celery", "production")),
    null,
    "A set of defaults: `celery` for Celery's own, `production` for what a production system needs.",
    { scope: "ours" },
  ),
  acceptContent: setting(textList, ["json"], "Serializers (names or content types) whose messages are read. Others are refused."),
  resultAcceptContent: setting(optional(textList), null, "The same for results. Null: as `acceptContent`."),
  enableUtc: setting(flag, true, "Times in messages are UTC.", {
    note: "Times are written in UTC whatever it says.",
  }),
  timezone: setting(timeZone, "UTC", "IANA name of the zone in which schedules are meant."),
  imports: setting(textList, [], "Modules that the worker loads at its start, relative to the app's module."),
  include: setting(textList, [], "More of the same, for what is added on top of `imports`."),
  shutdownGrace: setting(duration, 25, "How long a worker that was told to stop lets tasks finish.", { scope: "ours" }),

  // Tasks
  taskAnnotations: setting(optional(annotations), null, "Overrides options of tasks by name."),
  taskCompression: setting(optional(text), null, "Compression of messages: gzip, zlib, brotli or zstd."),
  taskSerializer: setting(text, "json", "Serializer of messages: json, yaml, msgpack, or a registered one."),
  taskProtocol: setting(protocolVersion, 2, "Version of the message protocol that is written."),
  taskPublishRetry: setting(flag, true, "Try again when the broker does not take a message."),
  taskPublishRetryPolicy: setting(publishRetryPolicy, {}, "How often and how far apart. All within `publishTimeout`."),
  taskMaxBytes: setting(
    optional(integer(1)),
    67_108_864,
    "A call whose message would have a larger body, after compression, is refused. More than the default no Lovage worker reads. Null: no limit.",
    { scope: "ours", celery: null },
  ),
  publishTimeout: setting(duration, 5, "A message that the broker has not taken by then is reported as failed.", { scope: "ours" }),
  publishBuffer: setting(
    integer(),
    0,
    "So many messages may wait in this process for a broker that is away, longer than `publishTimeout`. Their calls stay pending until the broker holds them. 0: none.",
    { scope: "ours" },
  ),
  publishBufferTimeout: setting(duration, 60, "How long a message waits with `publishBuffer` before its call is rejected.", {
    scope: "ours",
  }),
  taskAlwaysEager: setting(flag, false, "Run tasks in the caller's process, without a broker: for tests."),
  taskEagerPropagates: setting(flag, false, "Eager tasks throw their errors at the caller."),
  taskStoreEagerResult: setting(flag, false, "Store results of eager tasks in the result backend."),
  taskRemoteTracebacks: setting(flag, false, "Python only: tracebacks here are always the error's own stack.", { scope: "unused" }),
  taskIgnoreResult: setting(flag, false, "Store no results."),
  taskStoreErrorsEvenIfIgnored: setting(flag, false, "Store errors of tasks whose results are ignored."),
  taskTrackStarted: setting(flag, false, "Store the state STARTED."),
  taskTimeLimit: setting(optionalDuration, null, "Hard limit: the task is ended and recorded as TimeLimitExceeded."),
  taskSoftTimeLimit: setting(optionalDuration, null, "Soft limit: the task's signal aborts with SoftTimeLimitExceeded."),
  taskAcksLate: setting(flag, true, "Acknowledge a message after its task ran, so that a crash runs it again.", { celery: false }),
  taskAcksOnFailure: setting(optional(flag), null, "Acknowledge also when the task failed. Null: as `taskAcksOnFailureOrTimeout`."),
  taskAcksOnTimeout: setting(
    optional(flag),
    null,
    "Acknowledge also when the task exceeded its time limit. Null: as `taskAcksOnFailureOrTimeout`.",
  ),
  taskAcksOnFailureOrTimeout: setting(flag, true, "Celery's older name for the two above."),
  taskRejectOnWorkerLost: setting(flag, true, "Put a message back when the process that ran its task died.", { celery: false }),
  taskDefaultRateLimit: setting(optional(rate), null, "Starts of one task per worker and time."),
  taskDefaultPriority: setting(optional(integer(PRIORITY_FIRST, PRIORITY_LAST)), null, "Priority of messages; 0 is served first."),
  taskInheritParentPriority: setting(flag, false, "A task that is sent by a task gets its priority."),
  taskDefaultRetryDelay: setting(duration, 180, "Delay of a retry that names none.", { note: "In Celery only a task's own option." }),
  taskDefaultMaxRetries: setting(optional(integer()), 3, "Retries of a task that names no limit; null for ever.", {
    note: "In Celery only a task's own option.",
  }),
  maxDeliveries: setting(integer(1, 1_000_000), 5, "A message whose worker died this often is put with the dead letters.", {
    scope: "ours",
  }),
  unknownTaskTtl: setting(
    duration,
    600,
    "How long a message for a task that no worker here knows is put back, before it goes to the dead letters.",
    { scope: "ours" },
  ),
  chordLostAfter: setting(
    duration,
    3600,
    "How long a chord is waited for of which no member has reported and no message is left. Then its body fails. Longer than your longest task with an early ack.",
    { scope: "ours" },
  ),
  taskDeadLetter: setting(
    optional(deadLetter),
    null,
    "Which failures are kept with the dead letters: true, false, or an object of `on`, `queue` and `task`. Null keeps what cannot be run and what a task rejected.",
    { scope: "ours" },
  ),
  queueDeadLetter: setting(
    optional(deadLettersByQueue),
    null,
    "The same for single queues, by name: for tasks that say nothing of their own, and for messages whose task is not known.",
    { scope: "ours" },
  ),
  queueLimits: setting(
    optional(limitsByQueue),
    null,
    "Limits for all workers together on what is taken from a queue, by its name: `rate`, `burst`, `concurrency`, and `key` for each key of its own.",
    { scope: "ours" },
  ),
  deadLetterMax: setting(integer(1), 10_000, "Dead letters kept for each queue; the oldest make room.", { scope: "ours" }),
  deadLetterMaxBytes: setting(optional(integer(1)), null, "Bytes of dead letters kept for each queue.", { scope: "ours" }),
  deadLetterMaxAge: setting(optionalDuration, null, "Older dead letters go, within a minute while a worker runs.", { scope: "ours" }),
} as const;
