/** Pauses of queues of a memory broker. */
import type { Clock } from "../../shared/clock.ts";
import { BrokerRefusedError } from "../errors.ts";
import { inForce, PAUSES_MAX, type QueuePause, type QueuePauses } from "../queue-pauses.ts";
import type { MemoryStore } from "./store.ts";

export class MemoryPauses implements QueuePauses {
  readonly #location: string;
  readonly #store: MemoryStore;
  readonly #clock: Clock;

  constructor(location: string, store: MemoryStore, clock: Clock) {
    this.#location = location;
    this.#store = store;
    this.#clock = clock;
  }

  async pause(pauses: readonly QueuePause[]): Promise<void> {
    const { paused } = this.#store;
    const kept = new Map(inForce(paused.values(), this.#clock.now()).map((pause) => [pause.queue, pause]));
    for (const pause of pauses) kept.set(pause.queue, pause);
    if (kept.size > PAUSES_MAX) throw new BrokerRefusedError(this.#location, `more than ${PAUSES_MAX} queues cannot be paused`);
    paused.clear();
    for (const [queue, pause] of kept) paused.set(queue, pause);
    this.#tell();
  }

  async resume(queues: readonly string[]): Promise<readonly string[]> {
    const resumed = queues.filter((queue) => this.#store.paused.delete(queue));
    this.#tell();
    return resumed;
  }

  async list(): Promise<readonly QueuePause[]> {
    return inForce(this.#store.paused.values(), this.#clock.now());
  }

  watch(signal: AbortSignal, changed: () => void): void {
    if (signal.aborted) return;
    this.#store.pauseWatchers.add(changed);
    signal.addEventListener("abort", () => this.#store.pauseWatchers.delete(changed), { once: true });
  }

  #tell(): void {
    for (const changed of this.#store.pauseWatchers) changed();
  }
}
