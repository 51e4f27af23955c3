/** Settings of results and of the Redis that keeps them. */
import { duration, flag, integer, optional, optionalDuration, text } from "../setting-kinds.ts";
import { exchangeType, tls, transportOptions } from "../setting-values.ts";
import { amqpOnly, setting, unused } from "./setting.ts";

const PYTHON_ONLY = "Replaces a part of Celery by a Python class.";

export const RESULT_SETTINGS = {
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
} as const;
