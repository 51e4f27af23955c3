/**
 * What systemd is told of the worker processes: READY once all of them consume, STATUS in words, STOPPING, and WATCHDOG
 * only while each of them consumes or has been told not to. A worker that is up and takes nothing is restarted that way.
 */
import type { Clock, Timer } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import type { SupervisedStatus } from "../worker/supervisor.ts";
import type { Systemd } from "./systemd.ts";

export interface FollowerSetup {
  readonly systemd: Pick<Systemd, "tell" | "watchdogMs">;
  readonly status: () => SupervisedStatus;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How often what is said in words may change. Each word starts a program. */
const STATUS_EVERY_MS = 10_000;
/** Word is sent well before it is overdue: it takes a moment to arrive on a busy machine. */
const WATCHDOG_PART = 1 / 3;

export class SystemdFollower {
  readonly #setup: FollowerSetup;
  #state: SupervisedStatus["state"] = "starting";
  #isReady = false;
  #said = "";
  #isHungry = false;
  readonly #timers = new Set<Timer>();

  constructor(setup: FollowerSetup) {
    this.#setup = setup;
    this.#every(STATUS_EVERY_MS, () => this.#sayStatus({}));
    const { watchdogMs } = setup.systemd;
    if (watchdogMs !== undefined) this.#every(watchdogMs * WATCHDOG_PART, () => this.#feed());
  }

  /** Something has changed. */
  look(): void {
    const { state } = this.#setup.status();
    if (state === this.#state) return;
    this.#state = state;
    if (state === "starting") return;
    if (state === "running" || state === "quiet") {
      this.#sayStatus(this.#isReady ? {} : { READY: "1" });
      this.#isReady = true;
    } else this.#sayStatus({ STOPPING: "1" });
  }

  end(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  #every(ms: number, step: () => void): void {
    const fire = (): void => {
      this.#timers.delete(timer);
      step();
      this.#every(ms, step);
    };
    const timer = this.#setup.clock.timer(ms, fire, { background: true });
    this.#timers.add(timer);
  }

  #sayStatus(words: Readonly<Record<string, string>>): void {
    const { systemd, status } = this.#setup;
    const text = inWords(status());
    if (text === this.#said && Object.keys(words).length === 0) return;
    this.#said = text;
    systemd.tell({ ...words, STATUS: text });
  }

  #feed(): void {
    const { systemd, status, logger } = this.#setup;
    const { healthy, processes, state } = status();
    const isFed = healthy === processes || (state !== "running" && state !== "quiet");
    if (isFed) systemd.tell({ WATCHDOG: "1" });
    else if (!this.#isHungry)
      logger.warn(
        { healthy, processes },
        `systemd's watchdog is not fed: ${healthy} of ${processes} worker processes take messages or have said that they need not`,
      );
    this.#isHungry = !isFed;
  }
}

function inWords({ state, processes, consuming, running }: SupervisedStatus): string {
  const tasks = running === 1 ? "1 task runs" : `${running} tasks run`;
  if (state === "starting") return "starting";
  if (state === "quiet") return `quiet: takes no tasks, ${tasks}`;
  if (state === "running") return `${consuming} of ${processes} worker processes take tasks, ${tasks}`;
  return `stopping (${state}), ${tasks}`;
}
