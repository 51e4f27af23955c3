/** Lets so many through, and tells when they have been. */
export class Turnstile {
  #passed = 0;
  #allowed = 0;
  #waiting: (() => void)[] = [];
  #full: (() => void) | undefined;

  get passed(): number {
    return this.#passed;
  }

  /** Resolves when as many have passed as may, in all. Infinity: at once. */
  async allow(count: number): Promise<void> {
    this.#allowed = count;
    for (const wake of this.#waiting.splice(0)) wake();
    if (count === Infinity || this.#passed >= count) return;
    await new Promise<void>((resolve) => (this.#full = resolve));
  }

  async pass(): Promise<void> {
    while (this.#passed >= this.#allowed) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#passed += 1;
    if (this.#passed >= this.#allowed) this.#full?.();
  }
}
