/**
 * The main thread's side of health: writes down four times a second how it is, and that its event loop turns. What
 * happens seldom and needs words, a trouble for instance, is told to the thread by message.
 */
import { performance } from "node:perf_hooks";

import type { Clock, Timer } from "../../shared/clock.ts";
import type { WorkerStatus } from "../worker-options.ts";
import type { CapsuleVitals } from "./capsule-vitals.ts";
import { TURN_MS, type Vitals } from "./vitals.ts";

export interface VitalSigns {
  readonly status: WorkerStatus;
  readonly prefetch: number;
  /** When the broker answered last, by the monotonic clock; undefined: never yet. */
  readonly answeredAt: number | undefined;
  readonly connects: number;
}

/** Every so many samples the heap is measured. */
const HEAP_EVERY = 8;

export class Sampler {
  readonly #vitals: Vitals;
  readonly #capsules: CapsuleVitals;
  readonly #clock: Clock;
  readonly #look: () => VitalSigns;
  #timer: Timer | undefined;
  #sampledAt: number;
  #answeredAt: number | undefined;
  #silentMs = 0;
  #samples = 0;

  constructor(vitals: Vitals, capsules: CapsuleVitals, clock: Clock, look: () => VitalSigns) {
    this.#vitals = vitals;
    this.#capsules = capsules;
    this.#clock = clock;
    this.#look = look;
    this.#sampledAt = clock.monotonic();
  }

  start(): void {
    this.sample();
    this.#plan();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #plan(): void {
    const dueAt = this.#clock.monotonic() + TURN_MS;
    const fire = (): void => {
      this.#vitals.noteLag(Math.max(0, this.#clock.monotonic() - dueAt) / 1000);
      this.sample();
      this.#plan();
    };
    this.#timer = this.#clock.timer(TURN_MS, fire, { background: true });
  }

  /** Also called when something has changed that a prober should see at once. */
  sample(): void {
    const now = this.#clock.monotonic();
    const { status, prefetch, answeredAt, connects } = this.#look();
    this.#noteSilence(now, status, answeredAt);
    const vitals = this.#vitals;
    vitals.state = status.state;
    vitals.set("isConsuming", Number(status.consuming));
    vitals.set("silentMs", this.#silentMs);
    vitals.set("connects", connects);
    vitals.set("slots", status.slots);
    vitals.set("running", status.running);
    vitals.set("waiting", status.waiting);
    vitals.set("scheduled", status.scheduled);
    vitals.set("onLoan", status.onLoan);
    vitals.set("prefetch", prefetch);
    this.#capsules.write(status.capsules);
    if (this.#samples++ % HEAP_EVERY === 0) this.#measureHeap();
    vitals.set("turnedAt", now);
    this.#sampledAt = now;
  }

  /** A loop that stood still saw no answers, which says nothing about the broker: only the time in which it turned counts. */
  #noteSilence(now: number, { state }: WorkerStatus, answeredAt: number | undefined): void {
    const isHeard = answeredAt !== this.#answeredAt || state !== "running";
    this.#answeredAt = answeredAt;
    this.#silentMs = isHeard ? 0 : this.#silentMs + Math.min(now - this.#sampledAt, 2 * TURN_MS);
  }

  #measureHeap(): void {
    const { heapUsed, heapTotal, external } = process.memoryUsage();
    this.#vitals.set("heapUsed", heapUsed);
    this.#vitals.set("heapTotal", heapTotal);
    this.#vitals.set("external", external);
    this.#vitals.set("loopActiveMs", performance.eventLoopUtilization().active);
  }
}
