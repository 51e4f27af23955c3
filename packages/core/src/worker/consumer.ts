/**
 * Keeps consuming: runs `broker.consume`, runs it again when it ends for any reason but the worker's stop, and knows
 * whether messages would arrive now. That knowledge comes from answers that were seen, never from a client library's
 * word that it is connected.
 *
 * States: connecting -> consuming -> (no answer seen for a while, or an error) -> connecting -> ...
 * Any of them <-> paused: the broker's consumer has ended, and has given back what it had not yielded.
 */
import type { Broker, ConsumerEvents, Credit, Delivery } from "../brokers/broker.ts";
import type { QueueOrder } from "../brokers/queue-order.ts";
import type { PausedQueues } from "../brokers/queue-pauses.ts";
import { BrokerUnavailableError } from "../brokers/errors.ts";
import { whenAborted } from "../shared/abort.ts";
import { type Clock, type Random, sleep } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";

export interface ConsumerSetup {
  readonly broker: Broker;
  readonly queues: readonly string[];
  readonly fairQueues: ReadonlySet<string>;
  /** undefined: in equal shares. */
  readonly order: QueueOrder | undefined;
  /** Under which loans are kept. */
  readonly owner: string;
  readonly credit: Credit;
  readonly paused: PausedQueues;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Restarts in a row after which it gives up; null never. */
  readonly maxRestarts: number | null;
  onBatch(batch: readonly Delivery[]): void;
  /** Lent before `startOver`: nobody can know whether the loans are still this worker's. */
  onStaleBatch(batch: readonly Delivery[]): void;
  /** The broker is away, in words; undefined once it answers again. */
  onTrouble?(text: string | undefined): void;
}

/** Brokers report answers every few seconds, also while every slot is busy; after that long without one nothing is believed. */
const STALE_MS = 10_000;
const RESTART = { baseMs: 200, maxMs: 5000 };

export class Consumer {
  readonly #setup: ConsumerSetup;
  #isConnected = false;
  #lastAnswerAt: number | undefined;
  #restarts = 0;
  #connects = 0;
  #session = new AbortController();
  #whenConsuming: (() => void)[] = [];
  #pause: Pause | undefined;

  constructor(setup: ConsumerSetup) {
    this.#setup = setup;
  }

  /** Messages that are published now would arrive, as soon as a slot is free. */
  get isConsuming(): boolean {
    if (!this.#isConnected || this.#lastAnswerAt === undefined) return false;
    return this.#setup.clock.monotonic() - this.#lastAnswerAt < STALE_MS;
  }

  /** By the monotonic clock; undefined before the first. */
  get answeredAt(): number | undefined {
    return this.#lastAnswerAt;
  }

  /** Connections that were made, the first one included. */
  get connects(): number {
    return this.#connects;
  }

  /** Resolves when it consumes, or is paused. */
  whenConsuming(): Promise<void> {
    if (this.isConsuming || this.#pause) return Promise.resolve();
    return new Promise((resolve) => this.#whenConsuming.push(resolve));
  }

  /** Resolves when nothing arrives any more, or it is resumed; what had been lent and was not yielded is given back. `run` goes on. */
  pause(): Promise<void> {
    if (this.#pause === undefined) {
      this.#pause = new Pause();
      this.#session.abort(new Error("consuming pauses"));
      this.#tellWaiters();
    }
    return this.#pause.reached;
  }

  resume(): void {
    this.#pause?.end();
    this.#pause = undefined;
  }

  /** Everything that arrives from now on was lent from now on: what was on its way is given back. */
  startOver(): void {
    this.#session.abort(new Error("consuming begins anew"));
  }

  /** Resolves when `signal` aborts. Rejects when it gave up. */
  async run(signal: AbortSignal): Promise<void> {
    const { broker, queues, fairQueues: fair, order, owner, credit, paused, clock, random, logger, maxRestarts } = this.#setup;
    while (!signal.aborted) {
      if (this.#pause) {
        await this.#beQuiet(this.#pause, signal);
        continue;
      }
      const session = (this.#session = new AbortController());
      const until = AbortSignal.any([signal, session.signal]);
      try {
        const options = { worker: owner, credit, paused, order, signal: until, events: this.#events, fair };
        for await (const batch of broker.consume(queues, options)) {
          this.#answered();
          if (session.signal.aborted) this.#setup.onStaleBatch(batch);
          else this.#setup.onBatch(batch);
        }
        if (!until.aborted) throw new Error("the broker's consumer ended by itself");
      } catch (error) {
        if (signal.aborted) break;
        if (session.signal.aborted) continue;
        this.#isConnected = false;
        this.#setup.onTrouble?.(errorText(error));
        if (error instanceof BrokerUnavailableError && error.gaveUp) throw error;
        if (maxRestarts !== null && this.#restarts >= maxRestarts) throw error;
        const delayMs = backoffMs(this.#restarts++, RESTART, random);
        logger.error(
          { err: error, delayMs },
          `consuming from ${broker.location} failed; it is tried again in ${Math.round(delayMs)} ms: ${errorText(error)}`,
        );
        await sleep(clock, delayMs, until).catch(() => undefined);
      }
    }
    this.#pause?.reach();
  }

  async #beQuiet(pause: Pause, signal: AbortSignal): Promise<void> {
    this.#isConnected = false;
    this.#lastAnswerAt = undefined; // after the pause only a new answer is believed
    pause.reach();
    await this.#giveBackRest(AbortSignal.any([signal, pause.over]));
    if (!signal.aborted && !pause.over.aborted) await whenAborted(AbortSignal.any([signal, pause.over]));
  }

  /** The consumer may have ended while the broker was away, and have left loans behind: one more looks for them, and takes nothing. */
  async #giveBackRest(signal: AbortSignal): Promise<void> {
    const { broker, queues, fairQueues: fair, owner, clock, random } = this.#setup;
    const credit: Credit = { free: () => 0, whenFree: (until) => whenAborted(until).then(() => Promise.reject(until.reason as Error)) };
    for (let failures = 0; !signal.aborted; failures++) {
      const answered = new AbortController();
      const until = AbortSignal.any([signal, answered.signal]);
      const events: ConsumerEvents = { alive: () => answered.abort(new Error("the broker has answered")) };
      try {
        for await (const batch of broker.consume(queues, { worker: owner, credit, signal: until, events, fair }))
          this.#setup.onStaleBatch(batch);
        if (answered.signal.aborted) return;
      } catch {
        if (until.aborted) return;
      }
      await sleep(clock, backoffMs(failures, RESTART, random), signal).catch(() => undefined);
    }
  }

  readonly #events: Required<ConsumerEvents> = {
    connected: () => this.#answered(),
    disconnected: (error) => {
      const { logger, broker } = this.#setup;
      if (this.#isConnected) logger.warn({ err: error }, `lost the broker at ${broker.location}, connecting again: ${errorText(error)}`);
      this.#isConnected = false;
      this.#setup.onTrouble?.(errorText(error));
    },
    alive: () => this.#answered(),
  };

  #answered(): void {
    const { logger, broker, clock } = this.#setup;
    if (!this.#isConnected) {
      this.#connects += 1;
      this.#setup.onTrouble?.(undefined);
    }
    if (!this.#isConnected && this.#lastAnswerAt !== undefined) logger.info({}, `consuming from ${broker.location} again`);
    this.#isConnected = true;
    this.#lastAnswerAt = clock.monotonic();
    this.#restarts = 0;
    if (this.#whenConsuming.length > 0) this.#tellWaiters();
  }

  #tellWaiters(): void {
    for (const resolve of this.#whenConsuming.splice(0)) resolve();
  }
}

class Pause {
  readonly #over = new AbortController();
  reach!: () => void;
  readonly reached = new Promise<void>((resolve) => (this.reach = resolve));

  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Whoever waits for it to be reached waits no more: it never may be. */
  end(): void {
    this.#over.abort(new Error("consuming goes on"));
    this.reach();
  }
}
