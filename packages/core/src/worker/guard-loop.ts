/**
 * What keeps a worker's loans its own, and the broker tidy: renews the lease, sweeps the loans of the dead, returns
 * parked messages that are due, and measures how far the broker's clock is from ours. Runs in a thread of its own
 * (`guard-thread.ts`), so that user code that blocks the main thread costs no lease; knows no user code.
 *
 * Invariant: the lease's end that we believe in is never later than the broker's: it is counted from before the
 * renewal was sent.
 */
import type { Broker } from "../brokers/broker.ts";
import { countOf } from "../shared/count-of.ts";
import { type Clock, type Random, sleep } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { Lease } from "./lease.ts";

/** Renewals in one lease. One that failed, perhaps slowly, is tried again much sooner: a single bad connection must not cost the lease. */
const RENEWALS_PER_LEASE = 4;
const RETRIES_PER_LEASE = 16;
/** Cheap: a broker whose renewals tell of dead workers asks nothing for it. */
const SWEEPS_PER_LEASE = 8;
/** How often old dead letters are discarded. */
const EXPIRE_EVERY_MS = 30_000;
/** How often fair queues are looked after, and how often it is asked whether there are any. */
const TIDY_EVERY_MS = 5000;
const TIDY_NOTHING_EVERY_MS = 30_000;
/** How often parked messages are looked at when none is known to be due. Shorter than the least time a task is parked for. */
const UNPARK_EVERY_MS = 7500;
/** After a pause that short the broker is asked again when more was due than it moved at once, or when clocks differ a little. */
const UNPARK_SOONEST_MS = 20;
/** Workers that know of the same due message ask one after the other. */
const UNPARK_SPREAD_MS = 50;
/**
 * A message at `maxDeliveries` losses is given back all the same, because only a worker that knows its task can end it (`intake.ts`). One that
 * kills workers even so, as they look at it, is buried by the sweep itself after so many more losses: a dead letter without a result.
 */
const LOSSES_TO_BE_ENDED = 2;
/** What two clocks that are read in whole milliseconds may differ by while they agree. */
const CUT_MS = 1;
const SKEW_WORTH_A_WARNING_MS = 1000;

export interface GuardOptions {
  /** Under which loans and lease are kept. */
  readonly worker: string;
  readonly leaseMs: number;
  readonly maxDeliveries: number;
  /** kombu's, for what Python workers abandoned. */
  readonly visibilityTimeoutMs: number;
  /** Whose old dead letters it discards. */
  readonly queues: readonly string[];
}

/** Told, not asked: must not throw. */
export interface GuardEvents {
  /** The broker answered: the lease is ours for its whole length. */
  renewed(): void;
  /** The lease had run out and all loans made until now are others'. */
  lost(): void;
  /** A renewal failed; another one follows. */
  failed?(error: unknown): void;
}

export interface GuardDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class GuardLoop {
  readonly #broker: Broker;
  readonly #options: GuardOptions;
  readonly #lease: Lease;
  readonly #events: GuardEvents;
  readonly #deps: GuardDeps;
  /** One for each loop that pauses: aborted to make it look again. */
  readonly #pauses = new Set<AbortController>();
  #stopped = false;
  #running: Promise<unknown> | undefined;
  #nextDueAt = Number.POSITIVE_INFINITY;
  #warnedOfSkew = false;
  #clockOffsetMs: number | undefined;

  constructor(broker: Broker, lease: Lease, options: GuardOptions, events: GuardEvents, deps: GuardDeps) {
    this.#broker = broker;
    this.#lease = lease;
    this.#options = options;
    this.#events = events;
    this.#deps = deps;
  }

  start(): void {
    this.#running ??= Promise.all([this.#keepLease(), this.#keepSwept(), this.#keepUnparked(), this.#keepExpired(), this.#keepFair()]);
  }

  /** A message was parked until `dueAt`, by the broker's clock. */
  noteParked(dueAt: number): void {
    if (dueAt >= this.#nextDueAt) return;
    this.#nextDueAt = dueAt;
    this.#wakeAll();
  }

  /** Resolves when nothing of it is on the way any more: the lease will not be renewed after that. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wakeAll();
    await this.#running;
  }

  async #keepLease(): Promise<void> {
    const { leases } = this.#broker;
    if (!leases) return;
    const { clock } = this.#deps;
    const { worker, leaseMs } = this.#options;
    await this.#every(
      "renew the worker's lease",
      (since, failures) => since + leaseMs / (failures === 0 ? RENEWALS_PER_LEASE : RETRIES_PER_LEASE),
      async () => {
        const sentAt = clock.monotonic();
        const state = await leases.renew(worker, leaseMs).catch((error: unknown) => {
          this.#events.failed?.(error);
          throw error;
        });
        this.#noteClockOffset(state.clockOffsetMs, clock.monotonic() - sentAt);
        if (!state.held && this.#lease.hasBegun) {
          this.#lease.lose();
          this.#events.lost();
        }
        this.#lease.extend(sentAt + leaseMs);
        this.#events.renewed();
      },
    );
  }

  async #keepSwept(): Promise<void> {
    const { leases } = this.#broker;
    if (!leases) return;
    const { leaseMs, maxDeliveries, visibilityTimeoutMs } = this.#options;
    const next = (since: number): number => since + (leaseMs / SWEEPS_PER_LEASE) * (0.75 + this.#deps.random() / 2);
    await this.#every("sweep abandoned loans", next, async () => {
      const report = await leases.sweep({ maxDeliveries: maxDeliveries + LOSSES_TO_BE_ENDED, leaseMs, visibilityTimeoutMs });
      if (report.returned + report.deadLettered === 0) return;
      this.#deps.logger.warn(
        { ...report },
        `returned ${countOf(report.returned, "message")} of workers that are gone, dead-lettered ${report.deadLettered}`,
      );
    });
  }

  async #keepUnparked(): Promise<void> {
    const { delayed } = this.#broker;
    if (!delayed) return;
    await this.#every(
      "return parked messages that are due",
      (since) => this.#nextUnpark(since),
      async () => {
        this.#nextDueAt = Number.POSITIVE_INFINITY;
        const { nextDueAt } = await delayed.unpark();
        this.#nextDueAt = Math.min(this.#nextDueAt, nextDueAt ?? Number.POSITIVE_INFINITY);
      },
    );
  }

  async #keepExpired(): Promise<void> {
    const { deadLetters } = this.#broker;
    if (!deadLetters) return;
    const next = (since: number): number => since + EXPIRE_EVERY_MS * (0.75 + this.#deps.random() / 2);
    await this.#every("discard old dead letters", next, async () => {
      const count = await deadLetters.expire(this.#options.queues);
      if (count > 0) this.#deps.logger.info({ count }, `discarded ${countOf(count, "dead letter")} older than deadLetterMaxAge`);
    });
  }

  async #keepFair(): Promise<void> {
    const { fairness } = this.#broker;
    if (!fairness) return;
    let areAny = true;
    const next = (since: number): number => since + (areAny ? TIDY_EVERY_MS : TIDY_NOTHING_EVERY_MS) * (0.75 + this.#deps.random() / 2);
    await this.#every("look after fair queues", next, async () => {
      areAny = await fairness.tidy();
    });
  }

  #nextUnpark(since: number): number {
    const { clock, random } = this.#deps;
    const untilDueMs = this.#nextDueAt - (clock.now() + this.#lease.clockOffsetMs) + random() * UNPARK_SPREAD_MS;
    return Math.min(since + UNPARK_EVERY_MS, Math.max(since + UNPARK_SOONEST_MS, clock.monotonic() + untilDueMs));
  }

  /** Does `step` again and again, with a pause between; a failure is logged when it begins and when it is over. */
  async #every(what: string, next: (since: number, failures: number) => number, step: () => Promise<void>): Promise<void> {
    const { clock, logger } = this.#deps;
    let failures = 0;
    while (!this.#stopped) {
      try {
        await step();
        if (failures > 0) logger.info({ failures }, `the guard could ${what} again`);
        failures = 0;
      } catch (error) {
        if (failures === 0 && !this.#stopped) logger.warn({ err: error }, `the guard could not ${what}: ${errorText(error)}`);
        failures += 1;
      }
      const since = clock.monotonic();
      const failed = failures;
      await this.#pauseUntil(() => next(since, failed));
    }
  }

  /** `time` is by the monotonic clock; it is asked again whenever something may have changed it. */
  async #pauseUntil(time: () => number): Promise<void> {
    const { clock } = this.#deps;
    for (let isOver = false; !isOver && !this.#stopped;) {
      const pause = new AbortController();
      this.#pauses.add(pause);
      isOver = await sleep(clock, time() - clock.monotonic(), pause.signal).then(
        () => true,
        () => false, // woken
      );
      this.#pauses.delete(pause);
    }
  }

  #wakeAll(): void {
    for (const pause of this.#pauses) pause.abort();
  }

  /**
   * An answer is off by up to half of its way and by the milliseconds that both clocks were cut to: what is known already
   * is only put right where it cannot be. Clocks that seem a millisecond apart agree: else ETAs would begin early by it.
   */
  #noteClockOffset(measuredMs: number, tripMs: number): void {
    const known = this.#clockOffsetMs ?? measuredMs;
    const isLikely = Math.abs(measuredMs - known) <= tripMs / 2 + CUT_MS;
    const nearest = isLikely ? known : Math.min(measuredMs + tripMs / 2, Math.max(measuredMs - tripMs / 2, known));
    const offsetMs = Math.abs(nearest) <= CUT_MS ? 0 : nearest;
    this.#clockOffsetMs = offsetMs;
    this.#lease.setClockOffset(offsetMs);
    const isFar = Math.abs(offsetMs) > SKEW_WORTH_A_WARNING_MS;
    if (isFar && !this.#warnedOfSkew) {
      const seconds = (Math.abs(offsetMs) / 1000).toFixed(1);
      const way = offsetMs > 0 ? "behind" : "ahead of";
      this.#deps.logger.warn(
        { clockOffsetMs: offsetMs },
        `this machine's clock is ${seconds} s ${way} the broker's (${this.#broker.location}): ETAs and expiries follow the broker's`,
      );
    }
    this.#warnedOfSkew = isFar;
  }
}
