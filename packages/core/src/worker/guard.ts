/**
 * The main thread's side of the guard, and where it runs. Where the broker keeps leases the guard is a thread with its
 * own connection (`guard-host.ts`); else, and where there is nothing to open a second connection from, the same loop
 * runs here.
 */
import type { BrokerSpec } from "../app/connect.ts";
import type { Broker } from "../brokers/broker.ts";
import { GuardThread } from "./guard-host.ts";
import { type GuardDeps, type GuardEvents, GuardLoop, type GuardOptions } from "./guard-loop.ts";
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
  /** Of the worker: their depths are told by `/metrics`. */
  readonly queues: readonly string[];
  /** A thread that is up already, for health. */
  readonly thread: GuardThread | undefined;
  readonly events: GuardEvents;
  readonly deps: GuardDeps;
}

export function makeGuard(setup: GuardSetup): Guard {
  const { broker, spec, options, queues, events, deps } = setup;
  const lease = new Lease({ leaseMs: options.leaseMs, startedAt: deps.clock.monotonic() });
  if (broker.leases && spec) return (setup.thread ?? new GuardThread(deps)).guard({ spec, options, queues, lease, events });
  const loop = new GuardLoop(broker, lease, options, events, deps);
  return { lease, start: () => loop.start(), noteParked: (dueAt) => loop.noteParked(dueAt), stop: () => loop.stop() };
}
