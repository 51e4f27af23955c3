/** A list that is pushed and taken at both ends at constant cost, which an array is not at its front. */
export class Deque<T> {
  #items: (T | undefined)[] = Array.from({ length: 16 });
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  pushBack(item: T): void {
    if (this.#size === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#size) % this.#items.length] = item;
    this.#size++;
  }

  pushFront(item: T): void {
    if (this.#size === this.#items.length) this.#grow();
    this.#head = (this.#head + this.#items.length - 1) % this.#items.length;
    this.#items[this.#head] = item;
    this.#size++;
  }

  peek(): T | undefined {
    return this.#size === 0 ? undefined : this.#items[this.#head];
  }

  takeFront(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#items.length;
    this.#size--;
    return item;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let i = 0; i < this.#size; i++) yield this.#items[(this.#head + i) % this.#items.length] as T; // all of them are there
  }

  clear(): void {
    this.#items = Array.from({ length: 16 });
    this.#head = 0;
    this.#size = 0;
  }

  #grow(): void {
    const items = Array.from({ length: this.#size * 2 }, (_, index) =>
      index < this.#size ? this.#items[(this.#head + index) % this.#items.length] : undefined,
    );
    this.#items = items;
    this.#head = 0;
  }
}
