/**
 * The main thread's side of the guard thread: starts it, hears from it, and starts it again when it dies. The thread has
 * two duties, and lives as long as it has one: to keep the lease (`guard`), and to tell about health (`open`).
 */
import { Worker as Thread } from "node:worker_threads";

import type { BrokerSpec } from "../app/connect.ts";
import type { Timer } from "../shared/clock.ts";
import { LovageError } from "../shared/errors.ts";
import { backoffMs } from "./backoff.ts";
import type { GuardDeps, GuardEvents, GuardOptions } from "./guard-loop.ts";
import type { GuardDuty } from "./guard-duty.ts";
import type { FromGuard, GuardThreadData, ToGuard } from "./guard-thread.ts";
import type { Guard } from "./guard.ts";
import type { HealthData, HealthNote } from "./health/desk.ts";
import type { Lease } from "./lease.ts";

export interface GuardDutySetup {
  readonly spec: BrokerSpec;
  readonly options: GuardOptions;
  readonly queues: readonly string[];
  readonly lease: Lease;
  readonly events: GuardEvents;
}

/** The thread's file has this module's own ending: `.js` when built, `.ts` as source. */
const THREAD_FILE = new URL(`./guard-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
const RESTART = { baseMs: 500, maxMs: 10_000 };
/** A thread that has not ended by then is terminated: its broker may be away. */
const STOP_DEADLINE_MS = 300;

export class GuardThread {
  readonly #deps: GuardDeps;
  /** Asked at each start of the thread: what was told to the last one is told to the next. */
  readonly #health: (() => HealthData) | undefined;
  #duty: GuardDutySetup | undefined;
  #thread: Thread | undefined;
  #restart: Timer | undefined;
  #failures = 0;
  #isClosed = false;
  /** The first free port that was given is kept when the thread is started again. */
  #port: number | undefined;
  #opening: { resolve(port: number | undefined): void; reject(error: unknown): void } | undefined;
  #onStopped: (() => void) | undefined;
  #isTerminated = false;

  constructor(deps: GuardDeps, health?: () => HealthData) {
    this.#deps = deps;
    this.#health = health;
  }

  /** Begins to tell about health. Resolves with the port, or undefined when nobody is to listen. @throws HealthPortError */
  async open(): Promise<number | undefined> {
    const opened = new Promise<number | undefined>((resolve, reject) => (this.#opening = { resolve, reject }));
    this.#start();
    try {
      return await opened;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Keeps a lease, from the guard's `start` to its `stop`. */
  guard(duty: GuardDutySetup): Guard {
    return {
      lease: duty.lease,
      start: () => this.#begin(duty),
      noteParked: (dueAt) => this.tell({ kind: "parked", dueAt }),
      stop: () => this.#stopDuty(),
    };
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#restart?.cancel();
    const thread = this.#thread;
    if (!thread) return;
    const ended = new Promise<void>((resolve) => thread.once("exit", () => resolve()));
    this.tell({ kind: "end" });
    await this.#orTerminate(thread, ended);
  }

  tell(message: ToGuard | HealthNote): void {
    this.#thread?.postMessage(message);
  }

  #begin(duty: GuardDutySetup): void {
    this.#duty = duty;
    if (this.#thread) this.tell({ kind: "begin", duty: dutyData(duty) });
    else if (!this.#restart) this.#start();
  }

  async #stopDuty(): Promise<void> {
    this.#duty = undefined;
    if (!this.#health) this.#isClosed = true; // nothing is left that it would be started again for
    const thread = this.#thread;
    if (thread) {
      const stopped = new Promise<void>((resolve) => {
        this.#onStopped = resolve;
        thread.once("exit", () => resolve());
      });
      this.tell({ kind: "stop" });
      await this.#orTerminate(thread, stopped);
    }
    if (!this.#health) await this.close();
  }

  async #orTerminate(thread: Thread, done: Promise<void>): Promise<void> {
    const deadline = this.#deps.clock.timer(STOP_DEADLINE_MS, () => {
      this.#isTerminated = true;
      void thread.terminate();
    });
    await done;
    deadline.cancel();
  }

  #start(): void {
    this.#restart = undefined;
    this.#isTerminated = false;
    const health = this.#health?.();
    const data: GuardThreadData = {
      duty: this.#duty && dutyData(this.#duty),
      health: health?.address && this.#port !== undefined ? { ...health, address: { ...health.address, port: this.#port } } : health,
    };
    const thread = new Thread(THREAD_FILE, { workerData: data, name: "lovage-guard", execArgv: [] });
    this.#thread = thread;
    thread.on("message", (message: FromGuard) => this.#hear(message));
    thread.on("error", (error) => this.#deps.logger.error({ err: error }, "the guard thread failed"));
    thread.once("exit", () => this.#onExit(thread));
  }

  #hear(message: FromGuard): void {
    const { logger } = this.#deps;
    switch (message.kind) {
      case "renewed":
        this.#failures = 0;
        return this.#duty?.events.renewed();
      case "lost":
        return this.#duty?.events.lost();
      case "log":
        return logger[message.level](message.fields, message.message);
      case "stopped":
        return this.#onStopped?.();
      case "listening":
        this.#port = message.port;
        this.#opening?.resolve(message.port);
        this.#opening = undefined;
        return;
      case "unheard":
        if (!this.#opening) return logger.error({ port: message.port }, `health is not served: ${message.problem}`);
        this.#opening.reject(new HealthPortError(message.host, message.port, message.problem));
        this.#opening = undefined;
    }
  }

  /** Until the new thread has renewed, the lease runs on; if that takes too long no body is started meanwhile. */
  #onExit(thread: Thread): void {
    if (this.#thread !== thread) return;
    this.#thread = undefined;
    if (this.#isClosed) return;
    if (this.#isTerminated) return this.#start(); // its broker was away when the lease was to end; health is told on
    const delayMs = backoffMs(this.#failures++, RESTART, this.#deps.random);
    this.#deps.logger.error({ delayMs }, `the guard thread ended; it is started again in ${Math.round(delayMs)} ms`);
    this.#restart = this.#deps.clock.timer(delayMs, () => this.#start());
  }
}

function dutyData({ spec, options, queues, lease }: GuardDutySetup): GuardDuty {
  return { spec, options, queues, lease: { memory: lease.memory, startedAt: lease.startedAt } };
}

/** Health cannot be served where the settings say: the port is taken, or not allowed. */
export class HealthPortError extends LovageError {
  readonly code = "HEALTH_PORT";
  readonly host: string;
  readonly port: number;

  constructor(host: string, port: number, problem: string) {
    super(
      `health cannot be served on ${host}:${port}: ${problem}. See worker_health_port and worker_health_host (--health-port, --health-host)`,
    );
    this.host = host;
    this.port = port;
  }
}
