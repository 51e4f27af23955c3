/** A queue whose ends cost the same however long it is. */
export class Fifo<Item> {
  #items: (Item | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  /** The next one, left in its place. */
  peek(): Item | undefined {
    return this.#items[this.#head];
  }

  shift(): Item | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length || this.#head > 1024) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes the last `count` out, first to last. */
  takeLast(count: number): Item[] {
    return this.#items.splice(Math.max(this.#head, this.#items.length - count)) as Item[];
  }

  /** Takes out all that match, first to last. Looks at each. */
  takeWhere(matches: (item: Item) => boolean): Item[] {
    const all = this.clear();
    const taken = all.filter(matches);
    this.#items = taken.length === 0 ? all : all.filter((item) => !matches(item));
    return taken;
  }

  /** First to last. Not to be changed meanwhile. */
  *[Symbol.iterator](): IterableIterator<Item> {
    for (let at = this.#head; at < this.#items.length; at++) yield this.#items[at] as Item;
  }

  /** Takes everything out, first to last. */
  clear(): Item[] {
    const items = this.#items.slice(this.#head) as Item[];
    this.#items = [];
    this.#head = 0;
    return items;
  }
}
