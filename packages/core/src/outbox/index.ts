/// <reference types="node" preserve="true" />
/** The transactional outbox: tasks that are sent if, and only if, a transaction commits. */
export { delayAfterCommit, type CommitHook, type CommitSource } from "./after-commit.ts";
export { OutboxDriverMissingError, OutboxSchemaError, OutboxUnavailableError } from "./errors.ts";
export { drizzleExecutor, knexExecutor, kyselyExecutor, pgExecutor, prismaExecutor, sqliteExecutor, type Executor } from "./executor.ts";
export { serveRelayMetrics, type RelayMetrics, type RelayMetricsOptions } from "./metrics.ts";
export { openOutboxStore } from "./open-store.ts";
export { Outbox, type EnqueueOptions } from "./outbox.ts";
export { OutboxRelay, type RelayCounts, type RelayOptions } from "./relay.ts";
export type { AsideRow, OutboxStatus, OutboxStore } from "./store.ts";
