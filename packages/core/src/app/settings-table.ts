/**
 * The one table of settings. Types, names in the environment and in files, the documentation, masking and the report
 * all come from it. Names and units are Celery's; a default differs from Celery's only where that would lose work or
 * surprise, and then `celery` keeps Celery's own for `preset: "celery"`.
 */
import {
  anything,
  decimal,
  duration,
  flag,
  integer,
  oneOf,
  optional,
  optionalDuration,
  plainObject,
  text,
  textList,
  type InputOf,
  type Kind,
} from "./setting-kinds.ts";
import { PRIORITY_FIRST, PRIORITY_LAST } from "./priority.ts";
import {
  annotations,
  capsules,
  deadLetter,
  deadLettersByQueue,
  deliveryMode,
  exchangeType,
  keyRing,
  limitsByQueue,
  protocolVersion,
  publishRetryPolicy,
  queueOrder,
  queues,
  rate,
  routes,
  timeZone,
  tls,
  transportOptions,
} from "./setting-values.ts";

export interface Setting<K extends AnyKind = AnyKind> {
  readonly kind: K;
  /** As a user would write it; durations in seconds. */
  readonly default: InputOf<K>;
  readonly meaning: string;
  /** Celery's default where ours differs. */
  readonly celery?: InputOf<K>;
  /** Shown masked everywhere. A URL is shown without its password whether or not this is set. */
  readonly secret?: true;
  /** `ours`: Celery has no such setting. `amqp`: only RabbitMQ looks at it. `unused`: accepted, and without any effect here. */
  readonly scope?: "ours" | "amqp" | "unused";
  readonly note?: string;
}

type AnyKind = Kind<unknown, unknown>;
type Extra<K extends AnyKind> = Omit<Setting<K>, "kind" | "default" | "meaning">;

function setting<K extends AnyKind>(kind: K, initial: NoInfer<InputOf<K>>, meaning: string, extra: Extra<NoInfer<K>> = {}): Setting<K> {
  return { kind, default: initial, meaning, ...extra };
}

/** Accepted so that a configuration shared with Python can be used as it is. */
function unused(why: string): Setting {
  return { kind: anything, default: null, meaning: why, scope: "unused" };
}

function amqpOnly<K extends AnyKind>(kind: K, initial: NoInfer<InputOf<K>>, meaning: string): Setting<K> {
  return { kind, default: initial, meaning, scope: "amqp" };
}

const PYTHON_ONLY = "Replaces a part of Celery by a Python class.";
const DAEMON = "Processes are started by a service manager (systemd, Kubernetes), which does this.";

export const SETTINGS_TABLE = {
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

  // Routing
  taskQueues: setting(
    optional(queues),
    null,
    "Queues a worker consumes unless it is told others with -Q, and how they are bound. `fair: true` takes one by turns among keys.",
  ),
  taskRoutes: setting(optional(routes), null, "Where tasks go, by name."),
  taskCreateMissingQueues: setting(flag, true, "A queue that is not declared may be used; else it is an error."),
  taskCreateMissingQueueType: amqpOnly(oneOf("classic", "quorum"), "classic", "Type of queues that are created on the fly."),
  taskCreateMissingQueueExchangeType: setting(
    optional(exchangeType),
    null,
    "Exchange type of queues that are created on the fly. Null: as `taskDefaultExchangeType`.",
  ),
  taskDefaultQueue: setting(text, "celery", "Queue of tasks that no route names."),
  taskDefaultQueueType: amqpOnly(oneOf("classic", "quorum"), "classic", "Type of the default queue."),
  taskDefaultExchange: setting(optional(text), null, "Exchange of the default queue. Null: named as the queue."),
  taskDefaultExchangeType: setting(exchangeType, "direct", "Type of exchanges that name none."),
  taskDefaultRoutingKey: setting(optional(text), null, "Routing key of the default queue. Null: named as the queue."),
  taskDefaultDeliveryMode: setting(deliveryMode, 2, "Whether messages survive a restart of RabbitMQ."),
  taskQueueMaxPriority: amqpOnly(optional(integer(0, 255)), null, "x-max-priority of queues."),
  taskSendSentEvent: setting(flag, false, "Publish a task-sent event for each message."),
  taskAllowErrorCbOnChordHeader: setting(flag, false, "An error callback of a chord is called for its header's tasks too."),

  // Encryption of arguments
  encryptionKeys: setting(
    keyRing,
    {},
    "Keys for arguments that tasks encrypt: names and 32 bytes in base64 (in the environment as JSON). All of them decrypt.",
    { scope: "ours", secret: true },
  ),
  encryptionKeyId: setting(optional(text), null, "Name of the key that encrypts. Null: the only one.", { scope: "ours" }),

  // Outbox
  outboxUrl: setting(optional(text), null, "Database of the transactional outbox, for `lovage outbox`: postgres:// or sqlite://.", {
    scope: "ours",
    celery: null,
  }),

  // Broker
  brokerUrl: setting(
    optional(text),
    null,
    "Where messages are kept: redis://, rediss://, redis+socket://, sentinel://, several of them joined with `;`, sqlite:// or memory://. Null: the embedded broker, in `.lovage/` beside the app's package.json; an error when NODE_ENV is production.",
    { celery: null },
  ),
  brokerReadUrl: setting(optional(text), null, "Consume from here instead."),
  brokerWriteUrl: setting(optional(text), null, "Publish to here instead."),
  brokerTransportOptions: setting(
    transportOptions,
    {},
    "Options of the broker's driver, such as visibility_timeout, priority_steps and global_keyprefix.",
  ),
  brokerConnectionTimeout: setting(duration, 4, "For making a connection."),
  brokerConnectionRetry: setting(flag, true, "A worker that lost the broker connects again."),
  brokerConnectionRetryOnStartup: setting(flag, true, "A worker that does not reach the broker at its start goes on trying."),
  brokerConnectionMaxRetries: setting(
    optional(integer()),
    null,
    "Failed tries in a row after which a worker exits. Null: it goes on trying for ever.",
    { celery: 100 },
  ),
  brokerConnectionRetryInterval: setting(
    duration,
    0.5,
    "The longest pause after a first failed try. It doubles with each one, up to 2 s (or this, if longer); each pause is a random part of it.",
    { scope: "ours" },
  ),
  brokerChannelErrorRetry: amqpOnly(flag, false, "Also retry after a channel error."),
  brokerFailoverStrategy: setting(oneOf("round-robin", "shuffle"), "round-robin", "Which of several broker URLs is tried next."),
  brokerHeartbeat: amqpOnly(optionalDuration, 120, "Seconds between heartbeats. A worker on Redis looks every 3 s whether it answers."),
  brokerHeartbeatCheckrate: amqpOnly(decimal, 3, "How often a heartbeat is looked at within its interval."),
  brokerPoolLimit: setting(optional(integer()), 10, "Connections of a producer at most.", {
    note: "A producer here sends everything over one connection, so any limit holds.",
  }),
  brokerPoolAcquireTimeout: setting(optionalDuration, null, "No connection is waited for here.", { scope: "unused" }),
  brokerUseSsl: setting(tls, false, "TLS to the broker; certificates are checked unless it says otherwise."),
  brokerLoginMethod: amqpOnly(text, "AMQPLAIN", "Login method of RabbitMQ."),
  brokerNativeDelayedDeliveryQueueType: amqpOnly(oneOf("classic", "quorum"), "quorum", "Queue type of delayed delivery."),
  leaseTime: setting(
    duration,
    10,
    "A worker that has not renewed its lease for this long is taken for dead, and its messages go to others.",
    { scope: "ours" },
  ),
  parkThreshold: setting(duration, 10, "Messages due later than this are kept in the broker and not in a worker's memory.", {
    scope: "ours",
  }),

  // Results
  resultBackend: setting(
    optional(text),
    null,
    "Where results are kept: redis://, sqlite://, memory://, or disabled://. Null: the embedded broker's own file if that is used, else none.",
    {},
  ),
  resultBackendTransportOptions: setting(transportOptions, {}, "Options of the result backend's driver, such as global_keyprefix."),
  resultBackendAlwaysRetry: setting(flag, true, "Try again when the result backend is away.", { celery: false }),
  resultBackendMaxRetries: setting(optional(integer()), null, "Tries at most; null until the deadline of the operation."),
  resultBackendBaseSleepBetweenRetriesMs: setting(integer(), 10, "First delay between tries, in milliseconds."),
  resultBackendMaxSleepBetweenRetriesMs: setting(integer(), 10_000, "Longest delay between tries, in milliseconds."),
  resultBackendThreadSafe: unused("Threads of Python."),
  resultSerializer: setting(text, "json", "Serializer of results."),
  resultCompression: setting(optional(text), null, "Compression of results."),
  resultExtended: setting(flag, false, "Store name, arguments, worker, retries and queue with a result."),
  resultExpires: setting(optionalDuration, 86_400, "Results are deleted after this time; null or 0 keeps them for ever."),
  resultTimeout: setting(optionalDuration, 300, "`get()` without a timeout gives up after this time; null never.", {
    scope: "ours",
    celery: null,
  }),
  batchExpires: setting(duration, 604_800, "A batch is kept for this time after what last happened to it.", { scope: "ours" }),
  resultCacheMax: unused("Results are cached per AsyncResult here."),
  resultPersistent: amqpOnly(flag, false, "Results of the rpc backend survive a restart."),
  resultChordJoinTimeout: setting(duration, 3, "Time to collect the results of a chord's header."),
  resultChordRetryInterval: setting(duration, 1, "Between two looks at a chord, where the store cannot count.", {
    note: "No store here needs it.",
  }),
  resultExchange: amqpOnly(text, "celeryresults", "Exchange of the rpc backend."),
  resultExchangeType: amqpOnly(exchangeType, "direct", "Its type."),
  overrideBackends: unused(PYTHON_ONLY),
  redisMaxConnections: setting(optional(integer(1)), null, "Connections to the result backend at most.", {
    note: "A backend here uses two, so any limit from 2 holds.",
  }),
  redisSocketTimeout: setting(optionalDuration, 120, "For an answer of the Redis result backend."),
  redisSocketConnectTimeout: setting(optionalDuration, null, "For connecting to it. Null: 4 s."),
  redisRetryOnTimeout: setting(flag, false, "Repeat a command that timed out."),
  redisSocketKeepalive: setting(flag, true, "TCP keepalive.", { celery: false }),
  redisBackendUseSsl: setting(tls, false, "TLS to the Redis result backend."),
  redisBackendHealthCheckInterval: setting(optionalDuration, null, "Probe a connection that was idle this long."),
  redisBackendCredentialProvider: unused(PYTHON_ONLY),
  redisClientName: setting(optional(text), null, "Name of the connections in Redis's CLIENT LIST."),
  redisUsername: setting(optional(text), null, "User of the Redis result backend, where its URL names none."),
  redisPassword: setting(optional(text), null, "Its password.", { secret: true }),
  redisHost: setting(optional(text), null, "Its host, where `resultBackend` is just `redis`."),
  redisPort: setting(optional(integer(1, 65_535)), null, "Its port."),
  redisDb: setting(optional(integer()), null, "Its database."),

  // Worker
  workerConcurrency: setting(
    optional(integer(1, 100_000)),
    null,
    "Tasks that run at once. Null: 100 in the async pool, one a core in the others.",
  ),
  workerPrefetchMultiplier: setting(
    decimal,
    1,
    "Messages on loan at most, in multiples of the concurrency; 0 is unlimited in Celery and 2 here.",
    { celery: 4 },
  ),
  workerDisablePrefetch: setting(flag, false, "Take a message only when a slot is free."),
  workerEtaTaskLimit: setting(optional(integer(1)), null, "Messages with an ETA that are kept in memory at most."),
  workerEnablePrefetchCountReduction: amqpOnly(flag, true, "Take less after a reconnect."),
  workerDetectQuorumQueues: amqpOnly(flag, true, "Look whether queues are quorum queues."),
  workerQueueOrder: setting(
    queueOrder,
    "fair",
    "In which order a worker takes from its queues: in equal shares; strictly, each before those after it; or in shares by weight (`-Q critical:6,low:1`).",
    { scope: "ours" },
  ),
  workerCapsules: setting(
    optional(capsules),
    null,
    "Groups of queues with slots of their own in one worker. The queues that are in none of them have the worker's own concurrency.",
    { scope: "ours" },
  ),
  workerPool: setting(
    oneOf("async", "threads", "processes", "prefork", "gevent", "eventlet", "solo"),
    "async",
    "Where tasks run: on the event loop, in threads or in processes. Celery's names stand for the nearest of these.",
  ),
  workerPoolPutlocks: unused("A detail of Celery's pools."),
  workerPoolRestarts: setting(flag, false, "Allow the remote command pool_restart."),
  workerAutoscaler: unused(PYTHON_ONLY),
  workerAgent: unused(PYTHON_ONLY),
  workerConsumer: unused(PYTHON_ONLY),
  workerTimer: unused(PYTHON_ONLY),
  workerTimerPrecision: unused("Timers here are exact to a millisecond."),
  workerMaxTasksPerChild: setting(optional(integer(1)), null, "Replace a child after so many tasks."),
  workerMaxMemoryPerChild: setting(optional(integer(1)), null, "Replace a child beyond this, in KiB."),
  workerLostWait: setting(duration, 10, "How long a lost child's result is waited for."),
  workerProcAliveTimeout: setting(duration, 4, "A child that has not reported by then is replaced."),
  workerSoftShutdownTimeout: setting(
    duration,
    0,
    "How long a worker that gets SIGQUIT, or is told to stop a second time, still lets tasks finish; 0 is not at all.",
  ),
  workerEnableSoftShutdownOnIdle: setting(flag, false, "Wait for all of that time even when nothing runs."),
  workerCancelLongRunningTasksOnConnectionLoss: setting(flag, false, "Abort late-acknowledged tasks when their lease is lost."),
  workerDeduplicateSuccessfulTasks: setting(flag, false, "Do not run a redelivered message whose result is SUCCESS."),
  workerEnableRemoteControl: setting(flag, true, "Answer inspect and control commands."),
  workerSendTaskEvents: setting(flag, false, "Publish events of tasks."),
  workerDisableRateLimits: setting(flag, false, "Ignore rate limits."),
  workerDirect: setting(flag, false, "A queue of its own for each worker."),
  workerStateDb: setting(
    optional(text),
    null,
    "The broker remembers revoked tasks for all workers (`revocationTtl`); no file is written.",
    {
      scope: "unused",
    },
  ),
  workerHealthPort: setting(
    optional(integer(0, 65_535)),
    null,
    "Port at which a worker answers /livez, /readyz and /metrics; 0 takes any free one. Null: none.",
    { scope: "ours" },
  ),
  workerHealthHost: setting(text, "127.0.0.1", "Address it listens on. 0.0.0.0 for probers and Prometheus outside of the machine.", {
    scope: "ours",
  }),
  workerBlockedLimit: setting(duration, 120, "Beyond this a worker whose event loop is blocked is taken for dead: /livez is red.", {
    scope: "ours",
  }),
  workerBlockedKill: setting(
    optionalDuration,
    null,
    "A process of `lovage worker` whose event loop is blocked for so long is killed and started again. Null: never.",
    { scope: "ours" },
  ),
  workerHijackRootLogger: unused("There is no root logger in Node."),
  workerLogColor: setting(optional(flag), null, "Coloured log. Null: when it goes to a terminal."),
  workerLogFormat: unused("The log is structured; format it with pino's tools."),
  workerTaskLogFormat: unused("The log is structured; format it with pino's tools."),
  workerRedirectStdouts: unused("What tasks print goes to the standard output as it is."),
  workerRedirectStdoutsLevel: unused("What tasks print goes to the standard output as it is."),
  workerRevokesMax: setting(integer(1), 50_000, "Revoked tasks that a worker has in memory at most; for older ones it asks the broker."),
  workerRevokeExpires: setting(duration, 10_800, "How long a worker remembers a revoked task that the broker does not keep."),
  revocationsMax: setting(integer(1), 1_000_000, "Revoked tasks that the broker remembers at most; the oldest make room.", {
    scope: "ours",
  }),
  revocationTtl: setting(duration, 604_800, "How long the broker remembers that a task was revoked, whichever workers come and go.", {
    scope: "ours",
  }),
  workerSuccessfulMax: setting(integer(1), 1000, "Finished ids that are remembered at most."),
  workerSuccessfulExpires: setting(duration, 10_800, "How long a finished id is remembered."),

  // Events and remote control
  eventQueueExpires: amqpOnly(duration, 60, "Queues of monitors that are gone are deleted after this time."),
  eventQueueTtl: amqpOnly(duration, 5, "Events that nobody fetched are dropped after this time."),
  eventQueuePrefix: setting(text, "celeryev", "Names of monitors' queues begin so."),
  eventQueueExclusive: amqpOnly(flag, false, "Queues of monitors are exclusive."),
  eventQueueDurable: amqpOnly(flag, false, "Queues of monitors survive a restart."),
  eventSerializer: setting(text, "json", "Serializer of events."),
  eventExchange: setting(text, "celeryev", "Exchange of events."),
  controlQueueTtl: amqpOnly(duration, 300, "Commands that nobody fetched are dropped after this time."),
  controlQueueExpires: amqpOnly(duration, 10, "Control queues of workers that are gone are deleted after this time."),
  controlQueueExclusive: amqpOnly(flag, false, "Control queues are exclusive."),
  controlQueueDurable: amqpOnly(flag, false, "Control queues survive a restart."),
  controlExchange: setting(text, "celery", "Prefix of the exchange of remote control: `<this>.pidbox`."),

  // Signing
  securityCertificate: setting(optional(text), null, "File of the certificate that signs messages."),
  securityCertStore: setting(optional(text), null, "Files of the certificates that are trusted."),
  securityKey: setting(optional(text), null, "File of the private key.", { secret: true }),
  securityKeyPassword: setting(optional(text), null, "Its password.", { secret: true }),
  securityDigest: setting(text, "sha256", "Digest of signatures."),

  // Beat
  beatSchedule: setting(plainObject, {}, "Entries that beat publishes when they are due."),
  beatScheduler: setting(optional(text), null, "Where beat keeps its entries."),
  beatScheduleFilename: setting(text, "celerybeat-schedule", "File of beat's entries."),
  beatSyncEvery: setting(integer(), 0, "Save entries after so many tasks; 0 by time only."),
  beatMaxLoopInterval: setting(duration, 0, "Longest sleep of beat; 0 leaves it to the scheduler."),
  beatCronStartingDeadline: setting(optionalDuration, null, "Runs that were missed by more than this are skipped."),

  // What a service manager does
  ...daemonSettings(),
} as const;

type DaemonSetting = `${"worker" | "beat" | "events"}${"Logfile" | "Pidfile" | "Uid" | "Gid" | "Umask" | "Executable"}`;

function daemonSettings(): Record<DaemonSetting, Setting> {
  const rows = ["worker", "beat", "events"].flatMap((program) =>
    ["Logfile", "Pidfile", "Uid", "Gid", "Umask", "Executable"].map((option) => [program + option, unused(DAEMON)] as const),
  );
  return Object.fromEntries(rows) as Record<DaemonSetting, Setting>;
}

export type SettingsTable = typeof SETTINGS_TABLE;
export type SettingName = keyof SettingsTable;

/** Families of Celery settings for stores that do not exist here: refused, so that nobody believes results are kept there. */
export const REFUSED_FAMILIES: readonly { readonly pattern: RegExp; readonly store: string }[] = [
  { pattern: /^database_/, store: "SQL databases (use sqlite:// or redis://)" },
  { pattern: /^cache_backend/, store: "caches such as Memcached" },
  { pattern: /^mongodb_/, store: "MongoDB" },
  { pattern: /^cassandra_/, store: "Cassandra" },
  { pattern: /^s3_/, store: "S3" },
  { pattern: /^azureblockblob_/, store: "Azure Block Blob" },
  { pattern: /^gcs_/, store: "Google Cloud Storage" },
  { pattern: /^elasticsearch_/, store: "Elasticsearch" },
  { pattern: /^couchbase_/, store: "Couchbase" },
  { pattern: /^couchdb_/, store: "CouchDB" },
  { pattern: /^arangodb_/, store: "ArangoDB" },
  { pattern: /^cosmosdbsql_/, store: "Cosmos DB" },
  { pattern: /^dynamodb_/, store: "DynamoDB" },
  { pattern: /^consul_/, store: "Consul" },
  { pattern: /^riak_/, store: "Riak" },
];
