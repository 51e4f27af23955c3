/**
 * The main thread's side of the guard: starts it where it belongs, hears from it, and starts it again when its thread
 * dies. Where the broker keeps leases the guard is a thread with its own connection; else, and where there is nothing
 * to open a second connection from, the same loop runs here.
 */
import { Worker as Thread } from "node:worker_threads";

import type { BrokerSpec } from "../app/connect.ts";
import type { Broker } from "../brokers/broker.ts";
import type { Timer } from "../shared/clock.ts";
import { backoffMs } from "./backoff.ts";
import { type GuardDeps, type GuardEvents, GuardLoop, type GuardOptions } from "./guard-loop.ts";
import type { FromGuard, GuardThreadData, ToGuard } from "./guard-thread.ts";
import { Lease } from "./lease.ts";

export interface Guard {
  readonly lease: Lease;
  start(): void;
  /** A message was parked until `dueAt`, by the broker's clock: it is to be returned then. */
  noteParked(dueAt: number): void;
  /** Resolves when the lease will not be renewed any more. It is not released: the caller does that last of all. */
  stop(): Promise<void>;
}

export interface GuardSetup {
  readonly broker: Broker;
  /** What the thread opens its own broker from. undefined: the loop runs on this thread, on `broker`. */
  readonly spec: BrokerSpec | undefined;
  readonly options: GuardOptions;
  readonly events: GuardEvents;
  readonly deps: GuardDeps;
}

export function makeGuard(setup: GuardSetup): Guard {
  const { broker, spec, options, events, deps } = setup;
  const lease = new Lease({ leaseMs: options.leaseMs, startedAt: deps.clock.monotonic() });
  if (broker.leases && spec) return new ThreadGuard(spec, lease, options, events, deps);
  const loop = new GuardLoop(broker, lease, options, events, deps);
  return { lease, start: () => loop.start(), noteParked: (dueAt) => loop.noteParked(dueAt), stop: () => loop.stop() };
}

/** The thread's file has this module's own ending: `.js` when built, `.ts` as source. */
const THREAD_FILE = new URL(`./guard-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
const RESTART = { baseMs: 500, maxMs: 10_000 };
/** A thread that has not ended by then is terminated: its broker may be away. */
const STOP_DEADLINE_MS = 300;

class ThreadGuard implements Guard {
  readonly lease: Lease;
  readonly #data: GuardThreadData;
  readonly #events: GuardEvents;
  readonly #deps: GuardDeps;
  #thread: Thread | undefined;
  #restart: Timer | undefined;
  #failures = 0;
  #stopping = false;

  constructor(spec: BrokerSpec, lease: Lease, options: GuardOptions, events: GuardEvents, deps: GuardDeps) {
    this.lease = lease;
    this.#data = { spec, options, lease: { memory: lease.memory, startedAt: lease.startedAt } };
    this.#events = events;
    this.#deps = deps;
  }

  start(): void {
    const thread = new Thread(THREAD_FILE, { workerData: this.#data, name: "lovage-guard", execArgv: [] });
    this.#thread = thread;
    thread.on("message", (message: FromGuard) => this.#hear(message));
    thread.on("error", (error) => this.#deps.logger.error({ err: error }, "the guard thread failed"));
    thread.once("exit", () => this.#onExit(thread));
  }

  noteParked(dueAt: number): void {
    this.#tell({ kind: "parked", dueAt });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#restart?.cancel();
    const thread = this.#thread;
    if (!thread) return;
    const ended = new Promise<void>((resolve) => thread.once("exit", () => resolve()));
    this.#tell({ kind: "stop" });
    const deadline = this.#deps.clock.timer(STOP_DEADLINE_MS, () => void thread.terminate());
    await ended;
    deadline.cancel();
  }

  #tell(message: ToGuard): void {
    this.#thread?.postMessage(message);
  }

  #hear(message: FromGuard): void {
    switch (message.kind) {
      case "renewed":
        this.#failures = 0;
        return this.#events.renewed();
      case "lost":
        return this.#events.lost();
      case "log":
        return this.#deps.logger[message.level](message.fields, message.message);
    }
  }

  /** Until the new thread has renewed, the lease runs on; if that takes too long no body is started meanwhile. */
  #onExit(thread: Thread): void {
    if (this.#thread !== thread) return;
    this.#thread = undefined;
    if (this.#stopping) return;
    const delayMs = backoffMs(this.#failures++, RESTART, this.#deps.random);
    this.#deps.logger.error({ delayMs }, `the guard thread ended; it is started again in ${Math.round(delayMs)} ms`);
    this.#restart = this.#deps.clock.timer(delayMs, () => this.start());
  }
}
