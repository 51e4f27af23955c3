/**
 * Queues while they are in use: `app.queues`. A paused queue takes messages and gives none: producers publish on, what runs goes on,
 * and no Lovage worker begins anything more from it. Kept in the broker, so that it holds for workers that start later, and after a
 * restart of everything. Python's workers do not know of it.
 */
import { hostname, userInfo } from "node:os";

import type { QueuePause, QueuePauses } from "../brokers/queue-pauses.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import type { Lovage } from "./app.ts";
import { CallError, UnsupportedByBrokerError } from "./errors.ts";

export interface PauseOptions {
  /** For whoever finds it paused. At most 500 characters. */
  readonly reason?: string;
  /** Who pauses it. Default: the user of this process, at this machine. */
  readonly by?: string;
  /** Goes on by itself after so long. A number is seconds. */
  readonly for?: Duration;
  /** Goes on by itself then, by the broker's clock. Not together with `for`. */
  readonly until?: Date;
}

const TEXT_MAX = 500;

export class QueueControl {
  readonly #app: Lovage;

  constructor(app: Lovage) {
    this.#app = app;
  }

  /**
   * Workers hear of it within a second. What they have taken and not begun goes back, uncounted; what runs goes on. A queue that is
   * paused already is paused for the new reason. @throws CallError, UnsupportedByBrokerError, BrokerUnavailableError
   */
  async pause(queues: string | readonly string[], options: PauseOptions = {}): Promise<void> {
    const at = this.#app.clock.now();
    const { reason = "", by = whoami() } = options;
    if (!isShort(reason) || !isShort(by)) throw new CallError("", `pause() takes a reason and a name of at most ${TEXT_MAX} characters`);
    const record = { reason, by, at, until: endOf(options, at) };
    const names = namesOf(queues, "pause");
    await (await this.#pauses()).pause(names.map((queue) => ({ queue, ...record })));
  }

  /** Returns those that were paused. Workers take from them again within a second. */
  async resume(queues: string | readonly string[]): Promise<readonly string[]> {
    const names = namesOf(queues, "resume");
    return await (await this.#pauses()).resume(names);
  }

  /** Who paused what, why and when; by name of the queue. */
  async paused(): Promise<readonly QueuePause[]> {
    return await (await this.#pauses()).list();
  }

  async #pauses(): Promise<QueuePauses> {
    const { pauses, kind } = await this.#app.broker();
    if (pauses === undefined) throw new UnsupportedByBrokerError("pausing of queues", kind);
    return pauses;
  }
}

const isShort = (text: unknown): boolean => typeof text === "string" && text.length <= TEXT_MAX;

function namesOf(queues: string | readonly string[], what: string): readonly string[] {
  const names = [...new Set(typeof queues === "string" ? [queues] : queues)];
  if (names.length === 0 || !names.every((name) => typeof name === "string" && name !== ""))
    throw new CallError("", `${what}() takes names of queues`);
  return names;
}

function endOf({ for: duration, until }: PauseOptions, now: number): number | undefined {
  if (duration !== undefined && until !== undefined) throw new CallError("", "pause() takes `for` or `until`, not both");
  if (duration === undefined && until === undefined) return undefined;
  const end = until === undefined ? now + (parseDuration(duration) ?? Number.NaN) : until instanceof Date ? until.getTime() : Number.NaN;
  if (Number.isNaN(end))
    throw new CallError(
      "",
      until === undefined ? `\`for\` of pause() takes ${DURATION_ACCEPTED}` : "`until` of pause() takes a valid Date",
    );
  if (end <= now) throw new CallError("", "pause() cannot end before it begins: `until` is not in the future");
  return end;
}

/** The user of this process, at this machine. */
export function whoami(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return hostname(); // a user id without a name, as in some containers
  }
}
