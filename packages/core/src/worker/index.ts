/// <reference types="node" preserve="true" />
/** `lovage/worker`: runs an app's tasks, in a process of its own (`lovage worker`) or in yours. */
export { Worker } from "./worker.ts";
export { WorkerInPoolError, WorkerStoppedWhileStarting } from "./errors.ts";
export type { AutoscaleRange } from "./autoscale.ts";
export type { StopHow, WorkerState } from "./life.ts";
export type { WorkerOptions, WorkerStatus } from "./worker-options.ts";
export { LeaseLostError, WorkerStoppedError } from "./outcome.ts";
export type { Outcome } from "./outcome.ts";
export type { Refusal, TaskObserver } from "./observer.ts";
export type { Request } from "./request.ts";
