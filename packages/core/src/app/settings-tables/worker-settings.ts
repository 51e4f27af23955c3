/** Settings of workers. */
import { decimal, duration, flag, integer, oneOf, optional, optionalDuration, text } from "../setting-kinds.ts";
import { capsules, queueOrder } from "../setting-values.ts";
import { amqpOnly, setting, unused } from "./setting.ts";

const PYTHON_ONLY = "Replaces a part of Celery by a Python class.";

export const WORKER_SETTINGS = {
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
} as const;
