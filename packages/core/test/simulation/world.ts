/**
 * Virtual time, and who runs next. Everything that would be left to the machine in real life (when a timer fires, when
 * an answer arrives, which process's turn it is) is one event here, and the seed decides its time. Between two events
 * all promises settle, so an event is the piece between two awaits that reach outside of a process.
 *
 * A `Thread` is what runs JavaScript: a process has one for its tasks and one for its guard. An event of a thread that
 * is stopped waits until it goes on; one of a thread that is dead never happens.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Clock, Timer } from "../../src/shared/clock.ts";
import type { Chance } from "./chance.ts";

export const EPOCH = Date.UTC(2026, 0, 1);
const realSetImmediate = globalThis.setImmediate;
const TRACE_KEPT = Number(process.env["LOVAGE_TRACE"] ?? 200);

export class Thread {
  readonly label: string;
  isDead = false;
  /** Nothing of it runs before. */
  stoppedUntil = 0;
  lastImmediateAt = 0;
  /** Timers that have neither fired nor been cancelled. */
  timers = 0;

  constructor(label: string) {
    this.label = label;
  }
}

interface Event {
  at: number;
  /** When it was to happen, had its thread not been stopped. */
  readonly due: number;
  readonly order: number;
  readonly thread: Thread | undefined;
  readonly run: () => void;
  isCancelled: boolean;
}

export class World {
  readonly chance: Chance;
  readonly current = new AsyncLocalStorage<Thread>();
  /** Milliseconds since the beginning. */
  now = 0;
  steps = 0;
  digest = 0;
  #order = 0;
  readonly #heap: Event[] = [];
  readonly #trace: string[] = [];

  constructor(chance: Chance) {
    this.chance = chance;
  }

  note(text: string): void {
    if (this.#trace.length >= 2 * TRACE_KEPT) this.#trace.splice(0, TRACE_KEPT);
    for (let i = 0; i < text.length; i++) this.digest = (Math.imul(this.digest, 31) + text.charCodeAt(i)) | 0;
    this.digest = (Math.imul(this.digest, 31) + Math.round(this.now * 1000)) | 0;
    this.#trace.push(`${this.now.toFixed(1).padStart(9)}  ${(this.current.getStore()?.label ?? "world").padEnd(8)} ${text}`);
  }

  /** The last lines, oldest first. */
  trace(lines: number): string {
    return this.#trace.slice(-lines).join("\n");
  }

  schedule(delayMs: number, thread: Thread | undefined, run: () => void): Timer {
    const at = this.now + Math.max(0, delayMs);
    const event: Event = { at, due: at, order: this.#order++, thread, run, isCancelled: false };
    this.#push(event);
    return { cancel: () => void (event.isCancelled = true) };
  }

  /** In the order in which they were asked for, each in a turn of its own, as Node runs them. */
  immediate(thread: Thread, run: () => void): void {
    thread.lastImmediateAt = Math.max(thread.lastImmediateAt, this.now + (this.chance.one(20) ? this.chance.between(0, 5) : 0));
    this.schedule(thread.lastImmediateAt - this.now, thread, run);
  }

  /** Runs one event and all that follows from it at once. False when there is none left before `until`. */
  async step(until = Number.POSITIVE_INFINITY): Promise<boolean> {
    for (;;) {
      const event = this.#heap[0];
      if (event === undefined || event.at > until) return false;
      this.#pop();
      if (event.isCancelled) continue;
      const { thread } = event;
      if (thread?.isDead) continue;
      if (thread !== undefined && thread.stoppedUntil > event.at) {
        event.at = thread.stoppedUntil;
        this.#push(event); // what waited happens in the order in which it would have
        continue;
      }
      this.now = Math.max(this.now, event.at);
      if (thread) this.current.run(thread, event.run);
      else event.run();
      this.steps += 1;
      await new Promise<void>((resolve) => void realSetImmediate(resolve));
      return true;
    }
  }

  /** `setImmediate` of code that runs in a thread of this world goes through it. The function it returns undoes that, at the world's end. */
  takeImmediates(): () => void {
    const fake = (run: (...args: unknown[]) => void, ...args: unknown[]): unknown => {
      const thread = this.current.getStore();
      if (thread === undefined) return realSetImmediate(run, ...args);
      this.immediate(thread, () => run(...args));
      return undefined;
    };
    globalThis.setImmediate = fake as typeof setImmediate;
    return () => {
      globalThis.setImmediate = realSetImmediate;
      this.current.disable(); // on Node 20 each one that is not costs every promise from then on
    };
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Event;
      if (!isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child += 1;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  if (a.at !== b.at) return a.at < b.at;
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

/** The clocks of one machine: wall time that may be wrong and may jump, monotonic time that runs a little fast or slow. */
export class SimClock implements Clock {
  readonly #world: World;
  readonly #thread: Thread | undefined;
  readonly #rate: number;
  readonly #start: number;
  wallOffsetMs: number;

  /** @param thread of timers that are set by nobody's thread */
  constructor(world: World, thread: Thread | undefined, skew: { readonly wallMs: number; readonly rate: number; readonly start: number }) {
    this.#world = world;
    this.#thread = thread;
    this.#rate = skew.rate;
    this.#start = skew.start;
    this.wallOffsetMs = skew.wallMs;
  }

  now(): number {
    return Math.floor(EPOCH + this.#world.now + this.wallOffsetMs);
  }

  monotonic(): number {
    return this.#start + this.#world.now * this.#rate;
  }

  /** As Node: whole milliseconds, at least one, up to one early and, when the machine is busy, late. */
  timer(delayMs: number, fire: () => void): Timer {
    const { chance } = this.#world;
    const late = chance.one(30) ? chance.between(0, 30) : chance.between(-1, 1);
    const thread = this.#world.current.getStore() ?? this.#thread;
    if (thread === undefined) return this.#world.schedule(delayMs + late, undefined, fire);
    let isOver = false;
    const end = (): boolean => {
      if (isOver) return false;
      isOver = true;
      thread.timers -= 1;
      return true;
    };
    thread.timers += 1;
    const timer = this.#world.schedule(Math.max(1, Math.trunc(delayMs)) / this.#rate + late, thread, () => end() && fire());
    return { cancel: () => end() && timer.cancel() };
  }
}
