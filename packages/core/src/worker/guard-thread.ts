/**
 * Entry of the guard thread: opens a broker of its own from the same specification as the main thread's and runs the
 * guard's loop on it. Imports no user code. Talks to `guard.ts`: messages below, and the lease in shared memory.
 */
import { parentPort, workerData } from "node:worker_threads";

import { type BrokerSpec, connectBroker } from "../app/connect.ts";
import { systemClock, systemRandom } from "../shared/clock.ts";
import type { LogFields, LogLevel } from "../shared/log.ts";
import { GuardLoop, type GuardOptions } from "./guard-loop.ts";
import { Lease } from "./lease.ts";
import { postingLogger } from "./posting-logger.ts";

export interface GuardThreadData {
  readonly spec: BrokerSpec;
  readonly options: GuardOptions;
  readonly lease: { readonly memory: SharedArrayBuffer; readonly startedAt: number };
}

export type ToGuard = { readonly kind: "parked"; readonly dueAt: number } | { readonly kind: "stop" };

export type FromGuard =
  | { readonly kind: "renewed" }
  | { readonly kind: "lost" }
  | { readonly kind: "log"; readonly level: LogLevel; readonly fields: LogFields; readonly message: string };

if (parentPort) await runGuard(workerData as GuardThreadData, parentPort);

async function runGuard(data: GuardThreadData, port: NonNullable<typeof parentPort>): Promise<void> {
  const say = (message: FromGuard): void => port.postMessage(message);
  const logger = postingLogger((level, fields, message) => say({ kind: "log", level, fields, message }));
  const deps = { clock: systemClock, random: systemRandom, logger };
  await using broker = await connectBroker(data.spec, deps);
  const lease = new Lease({ leaseMs: data.options.leaseMs, ...data.lease });
  const events = { renewed: () => say({ kind: "renewed" }), lost: () => say({ kind: "lost" }) };
  const loop = new GuardLoop(broker, lease, data.options, events, deps);
  loop.start();
  await new Promise<void>((resolve) => {
    port.on("message", (message: ToGuard) => {
      if (message.kind === "parked") loop.noteParked(message.dueAt);
      else resolve();
    });
  });
  await loop.stop();
  port.close();
}
