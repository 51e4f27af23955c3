/**
 * Keeps N worker processes running: starts them, starts a dead one again after a growing pause, passes signals on, and
 * gives up when they do not come up. Holds no user code, so nothing of the user's can take it down.
 *
 * States of a child: starting (until it says that it is ready) -> up -> gone -> starting again, or, once the supervisor
 * stops, gone for good. A start that fails counts; five in a row, whichever children they are, end everything.
 * A child whose supervisor is gone loses its channel and stops by itself: see `reportToSupervisor`.
 */
import type { ChildProcess } from "node:child_process";

import type { Clock, Random, Timer } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";

export interface SupervisorOptions {
  readonly processes: number;
  /** Starts child number `index` with an IPC channel (`fork`, or `stdio` with `"ipc"`). Its worker tells `READY` when it consumes. */
  spawn(index: number): ChildProcess;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Starts that fail in a row before it gives up. Default 5. */
  readonly maxFailedStarts?: number;
}

/** What a child sends once it consumes. */
export const READY = "lovage:ready";

const MAX_FAILED_STARTS = 5;
const RESTART = { baseMs: 1000, maxMs: 30_000 };
/** A child that stayed up that long starts again without having to wait for its past. */
const STEADY_MS = 60_000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #children = new Map<number, Child>();
  readonly #restarts = new Map<number, Timer>();
  /** Deaths of a child in quick succession. */
  readonly #deaths = new Map<number, number>();
  #failedStarts = 0;
  #isStopping = false;
  #exitCode = 0;
  #finish!: (exitCode: number) => void;
  /** The exit code, when all children are gone: 0 after a stop, 1 when it gave up. */
  readonly finished: Promise<number> = new Promise((resolve) => (this.#finish = resolve));

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  get pids(): number[] {
    return [...this.#children.values()].flatMap(({ process: { pid } }) => (pid === undefined ? [] : [pid]));
  }

  start(): void {
    for (let index = 0; index < this.#options.processes; index++) this.#spawn(index);
  }

  /** Passes a signal on. One that asks to stop means that nothing is started again. */
  signal(signal: NodeJS.Signals): void {
    if (signal === "SIGTERM" || signal === "SIGINT" || signal === "SIGQUIT") this.#stopRestarting();
    for (const { process: child } of this.#children.values()) child.kill(signal);
    this.#finishIfEmpty();
  }

  #spawn(index: number): void {
    const { clock, logger } = this.#options;
    const child: Child = { process: this.#options.spawn(index), startedAt: clock.monotonic(), isUp: false };
    this.#children.set(index, child);
    child.process.on("message", (message) => {
      if (message !== READY) return;
      child.isUp = true;
      this.#failedStarts = 0;
    });
    let isOver = false;
    const over = (how: string): void => {
      if (isOver) return;
      isOver = true;
      this.#onGone(index, child, how);
    };
    child.process.once("exit", (code, signal) => over(signal ?? `exit code ${code}`));
    child.process.once("error", (error) => {
      logger.error({ err: error, index }, `worker process ${index + 1} could not be started: ${error.message}`);
      if (child.process.pid === undefined) over("not started");
    });
  }

  #onGone(index: number, child: Child, how: string): void {
    const { clock, random, logger, maxFailedStarts = MAX_FAILED_STARTS } = this.#options;
    this.#children.delete(index);
    if (this.#isStopping) return this.#finishIfEmpty();
    if (!child.isUp && ++this.#failedStarts >= maxFailedStarts) return this.#giveUp(how);
    const deaths = clock.monotonic() - child.startedAt > STEADY_MS ? 0 : (this.#deaths.get(index) ?? 0);
    this.#deaths.set(index, deaths + 1);
    const delayMs = backoffMs(deaths, RESTART, random);
    const when = child.isUp ? "ended" : "did not come up";
    logger.error(
      { index, how, delayMs },
      `worker process ${index + 1} ${when} (${how}); it is started again in ${(delayMs / 1000).toFixed(1)} s`,
    );
    this.#restarts.set(
      index,
      clock.timer(delayMs, () => {
        this.#restarts.delete(index);
        this.#spawn(index);
      }),
    );
  }

  #giveUp(how: string): void {
    this.#options.logger.error(
      { failedStarts: this.#failedStarts, how },
      `${this.#failedStarts} starts in a row failed (the last: ${how}): giving up`,
    );
    this.#exitCode = 1;
    this.signal("SIGTERM");
  }

  #stopRestarting(): void {
    this.#isStopping = true;
    for (const timer of this.#restarts.values()) timer.cancel();
    this.#restarts.clear();
  }

  #finishIfEmpty(): void {
    if (this.#isStopping && this.#children.size === 0) this.#finish(this.#exitCode);
  }
}

interface Child {
  readonly process: ChildProcess;
  readonly startedAt: number;
  isUp: boolean;
}

/** In a child: tells the supervisor that the worker consumes, and calls `stop` when the supervisor is gone. Does nothing without one. */
export function reportToSupervisor(parent: Pick<NodeJS.Process, "send" | "once" | "connected">, stop: () => void): void {
  if (parent.send === undefined) return;
  if (!parent.connected) return stop(); // it went while this process started
  parent.once("disconnect", stop);
  parent.send(READY);
}
