/**
 * Entry of the guard thread. Its duties: the guard's loop on a broker of its own, opened from the same specification as
 * the main thread's; and to answer for the worker's health, from its start on and whatever becomes of the broker.
 * Imports no user code. Talks to `guard-host.ts`: messages below, and shared memory.
 */
import { parentPort, workerData } from "node:worker_threads";

import { whenAborted } from "../shared/abort.ts";
import { type Clock, sleep, systemClock, systemRandom } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { LogFields, LogLevel } from "../shared/log.ts";
import { Duty, type GuardDuty } from "./guard-duty.ts";
import type { HealthData, HealthDesk, HealthNote } from "./health/desk.ts";
import { postingLogger } from "./posting-logger.ts";

export interface GuardThreadData {
  readonly duty: GuardDuty | undefined;
  readonly health: HealthData | undefined;
}

export type ToGuard =
  | { readonly kind: "begin"; readonly duty: GuardDuty }
  | { readonly kind: "parked"; readonly dueAt: number }
  /** The lease is not to be kept any more. */
  | { readonly kind: "stop" }
  | { readonly kind: "end" };

export type FromGuard =
  | { readonly kind: "renewed" }
  | { readonly kind: "lost" }
  | { readonly kind: "stopped" }
  /** undefined: nobody is to listen. */
  | { readonly kind: "listening"; readonly port: number | undefined }
  | { readonly kind: "unheard"; readonly host: string; readonly port: number; readonly problem: string }
  | { readonly kind: "log"; readonly level: LogLevel; readonly fields: LogFields; readonly message: string };

type Say = (message: FromGuard) => void;

const LISTEN_AGAIN_MS = 2000;

if (parentPort) await runThread(workerData as GuardThreadData, parentPort);

async function runThread(data: GuardThreadData, port: NonNullable<typeof parentPort>): Promise<void> {
  const say: Say = (message) => port.postMessage(message);
  const logger = postingLogger((level, fields, message) => say({ kind: "log", level, fields, message }));
  const deps = { clock: systemClock, random: systemRandom, logger };
  const tell = { renewed: () => say({ kind: "renewed" }), lost: () => say({ kind: "lost" }) };
  const ending = new AbortController();
  let desk: HealthDesk | undefined;
  if (data.health) {
    const { HealthDesk: Desk } = await import("./health/desk.ts"); // with Node's HTTP server, which others need not load
    desk = new Desk(data.health, systemClock);
  }
  const listening = desk && data.health && listen(desk, data.health.address, say, systemClock, ending.signal);
  let duty = data.duty && new Duty(data.duty, desk, tell, deps);
  port.on("message", (message: ToGuard | HealthNote) => {
    switch (message.kind) {
      case "begin":
        duty = new Duty(message.duty, desk, tell, deps);
        return;
      case "parked":
        return duty?.noteParked(message.dueAt);
      case "stop":
        return void Promise.resolve(duty?.stop()).then(() => say({ kind: "stopped" }));
      case "end":
        return ending.abort(new Error("the thread ends"));
      default:
        desk?.hear(message);
    }
  });
  await whenAborted(ending.signal);
  await duty?.stop();
  await listening;
  port.close();
}

/** Serves until `signal` aborts; a port that is taken is tried again. */
async function listen(desk: HealthDesk, address: HealthData["address"], say: Say, clock: Clock, signal: AbortSignal): Promise<void> {
  if (address === undefined) return say({ kind: "listening", port: undefined });
  while (!signal.aborted) {
    try {
      const server = await desk.listen(address);
      say({ kind: "listening", port: server.port });
      await whenAborted(signal);
      return await server.close();
    } catch (error) {
      say({ kind: "unheard", ...address, problem: errorText(error) });
      await sleep(clock, LISTEN_AGAIN_MS, signal).catch(() => undefined);
    }
  }
}
