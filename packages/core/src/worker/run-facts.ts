/** What a task's context is made from: the message's facts in the app's words, and what this worker offers the run. */
import type { Lovage } from "../app/app.ts";
import type { RunServices } from "../app/running-task.ts";
import type { TaskDelivery, TaskRequest } from "../app/task-context.ts";
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { WireInstant } from "../protocol/message.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Clock, Random } from "../shared/clock.ts";
import type { Request } from "./request.ts";

/** What is the same for all runs of a worker. */
export interface RunHome {
  readonly app: Lovage;
  /** `celery@host`. */
  readonly hostname: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Resolves when the backend holds it. Never rejects. */
  storeState(request: Request, state: string, meta: unknown): Promise<void>;
  /** Resolves when its message says how far its iterations have come, or when that could not be written. Never rejects. */
  checkpoint(request: Request, text: string): Promise<void>;
}

/** Getters, because a run asks for few of them. */
export class RunFacts implements TaskRequest, RunServices {
  readonly #request: Request;
  readonly #received: ReceivedTask;
  readonly #home: RunHome;
  readonly startedAt: number;

  constructor(request: Request, home: RunHome) {
    this.#request = request;
    this.#received = request.received;
    this.#home = home;
    this.startedAt = home.clock.now();
  }

  get app(): Lovage {
    return this.#home.app;
  }
  get options(): ResolvedTaskOptions {
    return this.#request.options;
  }
  get clock(): Clock {
    return this.#home.clock;
  }
  get random(): Random {
    return this.#home.random;
  }
  signal(): AbortSignal {
    return this.#request.signal;
  }
  storeState(state: string, meta: unknown): Promise<void> {
    return this.#home.storeState(this.#request, state, meta);
  }
  checkpoint(text: string): Promise<void> {
    return this.#home.checkpoint(this.#request, text);
  }

  get id(): string {
    return this.#received.id;
  }
  get task(): string {
    return this.#received.task;
  }
  get args(): readonly unknown[] {
    return this.#received.body().args;
  }
  get kwargs(): Readonly<Record<string, unknown>> {
    return this.#received.body().kwargs;
  }
  get argsrepr(): string | undefined {
    return this.#received.argsrepr;
  }
  get kwargsrepr(): string | undefined {
    return this.#received.kwargsrepr;
  }
  get rootId(): string {
    return this.#received.rootId ?? this.#received.id;
  }
  get parentId(): string | undefined {
    return this.#received.parentId;
  }
  get group(): string | undefined {
    return this.#received.group;
  }
  get groupIndex(): number | undefined {
    return this.#received.groupIndex;
  }
  get correlationId(): string | undefined {
    return this.#received.message.properties.correlationId;
  }
  get replyTo(): string | undefined {
    return this.#received.message.properties.replyTo;
  }
  get retries(): number {
    return this.#received.retries;
  }
  get eta(): WireInstant | undefined {
    return this.#received.eta;
  }
  get expires(): WireInstant | undefined {
    return this.#received.expires;
  }
  get timeLimitMs(): number | undefined {
    return this.#received.timeLimitMs;
  }
  get softTimeLimitMs(): number | undefined {
    return this.#received.softTimeLimitMs;
  }
  get ignoreResult(): boolean | null {
    return this.#received.ignoreResult ?? null;
  }
  get replacedTaskNesting(): number {
    return this.#received.replacedTaskNesting;
  }
  get headers(): Readonly<Record<string, unknown>> {
    return this.#received.headers;
  }
  get stampedHeaders(): readonly string[] | undefined {
    return this.#received.stampedHeaders;
  }
  get stamps(): Readonly<Record<string, unknown>> {
    return this.#received.stamps;
  }
  get shadow(): string | undefined {
    return this.#received.shadow;
  }
  get origin(): string | undefined {
    return this.#received.origin;
  }
  get delivery(): TaskDelivery {
    const { info, message } = this.#received;
    return {
      queue: this.#request.delivery.queue,
      exchange: info.exchange,
      routingKey: info.routingKey,
      priority: message.properties.priority,
      redelivered: info.redelivered,
    };
  }
  get callbacks(): readonly unknown[] | undefined {
    return this.#received.body().embed.callbacks ?? undefined;
  }
  get errbacks(): readonly unknown[] | undefined {
    return this.#received.body().embed.errbacks ?? undefined;
  }
  get chain(): readonly unknown[] | undefined {
    return this.#received.body().embed.chain ?? undefined;
  }
  get chord(): unknown {
    return this.#received.body().embed.chord ?? undefined;
  }
  get hostname(): string {
    return this.#home.hostname;
  }
  get workerPid(): number {
    return process.pid;
  }
  get isEager(): boolean {
    return false;
  }
}
