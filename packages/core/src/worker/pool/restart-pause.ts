/** Children that do not start are tried again after pauses that grow, so that a pool whose program is broken does not start processes without end. */
import type { Clock, Random, Timer } from "../../shared/clock.ts";
import { errorText } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import { backoffMs } from "../backoff.ts";

const PAUSE = { baseMs: 500, maxMs: 30_000 };

export interface RestartPauseDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class RestartPause {
  readonly #deps: RestartPauseDeps;
  readonly #over: () => void;
  #timer: Timer | undefined;
  #failures = 0;

  /** @param over a pause has ended: children may be started again */
  constructor(deps: RestartPauseDeps, over: () => void) {
    this.#deps = deps;
    this.#over = over;
  }

  get isOn(): boolean {
    return this.#timer !== undefined;
  }

  /** Starts that failed since one succeeded. */
  get failures(): number {
    return this.#failures;
  }

  failed(): void {
    this.#failures += 1;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** Does nothing while there is one. */
  begin(error: unknown): void {
    if (this.#timer !== undefined) return;
    const { clock, random, logger } = this.#deps;
    const delayMs = backoffMs(this.#failures - 1, PAUSE, random);
    logger.error(
      { err: error, delayMs },
      `a child of the pool did not start; it is tried again in ${Math.round(delayMs)} ms: ${errorText(error)}`,
    );
    this.#timer = clock.timer(delayMs, () => {
      this.#timer = undefined;
      this.#over();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
  }
}
