/** What a test opened, closed together, the last opened first. (AsyncDisposableStack, which Node 20 has not.) */
export class Kept implements AsyncDisposable {
  readonly #all: AsyncDisposable[] = [];

  keep<T extends AsyncDisposable>(one: T): T {
    this.#all.push(one);
    return one;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#all.splice(0).toReversed()) await one[Symbol.asyncDispose]();
  }
}
