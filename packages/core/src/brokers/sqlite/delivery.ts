import type { EnvelopeReader } from "../../protocol/envelope-reader.ts";
import type { Delivery, LoanId, OpenedDelivery } from "../broker.ts";
import type { Envelope } from "../envelope-edits.ts";
import type { LentRow } from "./message-rows.ts";

/** The three numbers that name a loan in the database. */
export interface Loan {
  readonly holder: number;
  readonly take: number;
  readonly message: number;
}

export class SqliteDelivery implements Delivery {
  readonly loan: LoanId;
  readonly queue: string;
  readonly losses: number;
  readonly raw: Envelope;
  /** It was taken from the line of its key. */
  readonly isFair: boolean;
  readonly #reader: EnvelopeReader;
  #opened: OpenedDelivery | undefined;

  constructor(holder: number, take: number, row: LentRow, reader: EnvelopeReader) {
    const { message, queue, losses, envelope, isFair = false } = row;
    this.loan = `${holder}.${take}.${message}` as LoanId; // made here and nowhere else
    this.queue = queue;
    this.losses = losses;
    this.raw = envelope;
    this.isFair = isFair;
    this.#reader = reader;
  }

  open(): OpenedDelivery {
    return (this.#opened ??= this.#reader.read(this.raw));
  }
}

/** The id carries all of a loan, so that another thread can settle it that was given the id alone. */
export function parseLoan(id: LoanId): Loan {
  const [holder, take, message] = id.split(".");
  return { holder: Number(holder), take: Number(take), message: Number(message) };
}
