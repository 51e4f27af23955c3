/**
 * What a subscriber has not read yet: filled from outside, read as an async iterable by one reader, ended by a signal.
 * Bounded: a reader that stopped reading loses the oldest, as a fanout subscriber may.
 */
export class Inbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  readonly #limit: number;
  readonly #signal: AbortSignal;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal, limit = 10_000) {
    this.#signal = signal;
    this.#limit = limit;
    signal.addEventListener("abort", () => this.#wake?.(), { once: true });
  }

  push(item: T): void {
    if (this.#items.length === this.#limit) this.#items.shift();
    this.#items.push(item);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    while (!this.#signal.aborted) {
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
