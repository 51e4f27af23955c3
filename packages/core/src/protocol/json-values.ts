import type { WireInstant } from "./message.ts";

/** Small values for what Python has in JSON messages and JavaScript lacks. `toString()` is the text on the wire. */
export abstract class TextValue {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }

  toJSON(): string {
    return this.text;
  }
}

/** Python's `decimal.Decimal`: exact, as text. */
export class Decimal extends TextValue {}
/** Python's `datetime.date`: `2024-02-29`. */
export class PlainDate extends TextValue {}
/** Python's `datetime.time`: `12:30:45.123456`. */
export class PlainTime extends TextValue {}
/** Python's `uuid.UUID`: with dashes, lower case. */
export class Uuid extends TextValue {}

/** A Date that came from elsewhere: it remembers its microseconds and its offset, and is written as it came while it is not changed. */
export class WireDate extends Date {
  readonly #instant: WireInstant;

  constructor(instant: WireInstant) {
    super(instant.at);
    this.#instant = instant;
  }

  /** ISO-8601. */
  get text(): string {
    return this.getTime() === this.#instant.at ? this.#instant.text : `${this.toISOString().slice(0, -1)}000+00:00`;
  }
}
