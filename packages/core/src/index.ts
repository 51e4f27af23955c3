/// <reference types="node" preserve="true" />
/** What users need: the app, its tasks, their results, and the errors that all of these can throw. */
export { Lovage, type LovageOptions } from "./app/app.ts";
export { AsyncResult, type GetOptions } from "./app/async-result.ts";
export { EagerResult } from "./app/eager.ts";
export type { CallOptions, Kwargs, TaskCall } from "./app/call-options.ts";
export type { Control, ControlOptions, ControlTarget, NodeReply, RevokeOptions } from "./app/control.ts";
export type { BatchItem, BatchTaskContext, BatchTaskOptions, ItemRetry } from "./app/batch-task.ts";
export type { AggregateOptions } from "./app/aggregate-task.ts";
export type { AggregateTaskDefinition, BatchTaskDefinition, CheckedBatchTaskDefinition } from "./app/task-definition.ts";
export type { IterateOptions, IterationSource, IterationStep, Steps } from "./app/iteration.ts";
export { counted, eachOf, pages, range, rowsByKey, type SourcePage } from "./app/iteration-sources.ts";
export type { TaskContext, TaskRequest, TaskDelivery, RetryRequest, WholeSignature } from "./app/task-context.ts";
export type { DeadLetterOptions } from "./app/dead-letter-policy.ts";
export type { Backoff, ErrorMatcher, RetryOptions, TaskOptions } from "./app/task-options.ts";
export { Task, RemoteTask } from "./app/task.ts";
export {
  Batch,
  currentBatch,
  type BatchCounts,
  type BatchInfo,
  type BatchMember,
  type BatchOptions,
  type BatchSummary,
} from "./app/batch.ts";
export type { FailedRequest } from "./canvas/follow.ts";
export type { FailureDocument } from "./app/error-callback.ts";
export { Signature, type StampOptions } from "./app/signature.ts";
export { chain, chord, chunks, group, map, starmap, type AnyPart, type Part } from "./app/compose.ts";
export { ChordResult, type HeaderCounts } from "./app/chord-result.ts";
export { ResultGraph, type Collected, type GraphEdge, type GraphNode, type GraphOptions } from "./app/result-tree.ts";
export { GroupResult, ResultSet, type AnyResult, type CompletedResult } from "./app/group-result.ts";
export type { Stamps, StampVisitor } from "./canvas/stamp.ts";
export type { SignatureData } from "./protocol/signature.ts";
export type { ExplainOptions } from "./app/workflow/explain.ts";
export type { Whereabouts } from "./app/workflow/find-messages.ts";
export type { NodeRole, WorkflowNode, WorkflowProblem, WorkflowView } from "./app/workflow/node.ts";
export { Workflow, type Repaired, type RepairOptions } from "./app/workflow/workflow.ts";
export { sharedTask, SharedTask } from "./app/shared-task.ts";
export { currentApp, currentTask } from "./app/process-wide.ts";
export { taskLogger } from "./app/task-logger.ts";
export { Ignore, NonRetryableError, Reject, Retry } from "./app/task-signals.ts";
export { DecryptionError } from "./app/encryption.ts";
export type { PauseOptions, QueueControl } from "./app/queue-control.ts";
export type { UniqueInput, UniqueKey, UniqueOptions } from "./app/unique-options.ts";
export type { UniqueLocks } from "./app/unique-locks.ts";
export type { UniqueLock } from "./brokers/uniques.ts";
export type { FairQueues, FairQueueState, KeyLimits, KeyPauseOptions } from "./app/fair-queues.ts";
export { FairChangeError, type FairPause, type KeyState } from "./brokers/fairness.ts";
export type { QueuePause } from "./brokers/queue-pauses.ts";
export { Exchange, Queue, type QueueOptions } from "./app/queues.ts";
export type { Route, RouterFunction, RoutesInput } from "./app/routes.ts";
export type { Settings, SettingsInput } from "./app/settings.ts";
export {
  AppClosedError,
  BatchClosedError,
  CallError,
  ConfigurationError,
  FailedByHandError,
  ModuleLoadError,
  PayloadTooLargeError,
  PublishFailedError,
  PublishTimeoutError,
  ResultsDisabledError,
  ResultTimeoutError,
  SettingError,
  TaskArgumentsError,
  TaskDefinitionError,
  UnsupportedByBrokerError,
  WaitInsideTaskError,
  WorkflowRepairError,
  WorkflowUnknownError,
} from "./app/errors.ts";
export { BackendRefusedError, BackendUnavailableError } from "./results/errors.ts";
export { BrokerOutOfMemoryError, BrokerRefusedError, BrokerTimeoutError, BrokerUnavailableError, PublishError } from "./brokers/errors.ts";
export type { ResultDocument } from "./protocol/result.ts";
export {
  ChordError,
  MaxRetriesExceededError,
  NotRegistered,
  SoftTimeLimitExceeded,
  TaskRevokedError,
  TimeLimitExceeded,
  WorkerLostError,
} from "./protocol/celery-errors.ts";
export { ProtocolError } from "./protocol/errors.ts";
export { RemoteTaskError } from "./protocol/exception.ts";
export { Decimal, PlainDate, PlainTime, Uuid } from "./protocol/json-values.ts";
export { registerSerializer, type Serializer } from "./protocol/serializers.ts";
export { LovageError } from "./shared/errors.ts";
export type { Duration } from "./shared/duration.ts";
export type { Logger, LogFields } from "./shared/log.ts";
