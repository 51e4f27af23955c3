/** Settings of where messages go and what keeps them: routing, encryption, the outbox, the broker. */
import { decimal, duration, flag, integer, oneOf, optional, optionalDuration, text } from "../setting-kinds.ts";
import { deliveryMode, exchangeType, keyRing, queues, routes, tls, transportOptions } from "../setting-values.ts";
import { amqpOnly, setting } from "./setting.ts";

export const BROKER_SETTINGS = {
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
} as const;
