/** Small values for what Python has in JSON messages and JavaScript lacks. `toString()` is the text on the wire. */
abstract class TextValue {
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
