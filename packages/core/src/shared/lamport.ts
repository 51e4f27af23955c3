/** A logical clock, as Celery's messages of control and events carry it (celery-protocol.md 10.5): what was caused by a message is later than it. */
export class LamportClock {
  #value = 0;

  get value(): number {
    return this.#value;
  }

  /** For a message that is about to be sent. */
  forward(): number {
    this.#value += 1;
    return this.#value;
  }

  /** A message was received that was sent at `other`. What is no time is passed over: it comes from outside. */
  adjust(other: number | undefined): void {
    if (other === undefined || !Number.isSafeInteger(other) || other < 0 || other > FARTHEST) return;
    this.#value = Math.max(this.#value, other) + 1;
  }
}

/** One message must not bring all clocks to where they cannot count any more. */
const FARTHEST = 2 ** 50;
