/**
 * Results that are asked for as soon as their task is sent, one after the other: after a few of them the next ones are watched
 * from before the sending, and come without a further question. A caller that does not ask any more ends it.
 */
import type { ResultText } from "../results/result-backend.ts";

/** So many in a row make a habit. */
const HABIT = 3;

type OnText = (text: ResultText) => void;
type Watch = (id: string, onText: OnText) => Promise<Disposable>;

export class AwaitedSends {
  readonly #watch: Watch;
  #inARow = 0;
  #lastSent: string | undefined;
  /** Watched and not yet asked for: those that are being sent, and the last one sent. */
  readonly #early = new Map<string, EarlyWatch>();

  constructor(watch: Watch) {
    this.#watch = watch;
  }

  /** The task is about to be sent. */
  sending(id: string): void {
    if (this.#inARow >= HABIT && !this.#early.has(id)) this.#early.set(id, new EarlyWatch(this.#watch, id));
  }

  /** It was sent. */
  sent(id: string): void {
    if (this.#lastSent !== undefined) {
      this.#inARow = 0;
      this.failed(this.#lastSent);
    }
    this.#lastSent = id;
  }

  /** It was not sent, or nobody asks for it. */
  failed(id: string): void {
    this.#early.get(id)?.[Symbol.dispose]();
    this.#early.delete(id);
  }

  /** Somebody waits for it. Answers with what is already being watched. */
  asked(id: string): EarlyWatch | undefined {
    if (this.#lastSent !== id) return undefined;
    this.#lastSent = undefined;
    this.#inARow += 1;
    const early = this.#early.get(id);
    this.#early.delete(id);
    return early;
  }
}

/** A watch that keeps what it is told until somebody listens. */
export class EarlyWatch implements Disposable {
  readonly #watching: Promise<Disposable>;
  #told: ResultText[] = [];
  #listener: OnText | undefined;

  constructor(watch: Watch, id: string) {
    this.#watching = watch(id, (text) => (this.#listener === undefined ? this.#told.push(text) : this.#listener(text)));
    this.#watching.catch(() => undefined); // whoever listens is told of it
  }

  /** Rejects when the watch could not begin. */
  async listen(listener: OnText): Promise<void> {
    this.#listener = listener;
    const told = this.#told;
    this.#told = [];
    for (const text of told) listener(text);
    await this.#watching;
  }

  [Symbol.dispose](): void {
    this.#watching.then(
      (watch) => watch[Symbol.dispose](),
      () => undefined,
    );
  }
}
