/**
 * A message on loan through Redis: its bytes as they were, decoded when somebody asks.
 */
import { isUtf8 } from "node:buffer";

import { markRedelivered } from "../../protocol/envelope.ts";
import type { EnvelopeReader } from "../../protocol/envelope-reader.ts";
import type { Delivery, LoanId, OpenedDelivery } from "../broker.ts";
import type { RosterMember } from "../../shared/roster.ts";
import type { FairKeys } from "../../stores/redis/keys.ts";
import { readLosses } from "./losses.ts";

export class RedisDelivery implements Delivery, RosterMember {
  readonly loan: LoanId;
  readonly queue: string;
  readonly losses: number;
  readonly raw: Buffer;
  /** The list it was taken from: queue and priority step. */
  readonly list: string;
  /** Grows with each loan of a worker: the order in which they were taken. */
  readonly number: number;
  /** It came through a channel: there is no loan in Redis, and nothing to give back. */
  readonly isFanout: boolean;
  /** Of its queue, when it is fair: the end of the loan is counted there. */
  readonly fair: FairKeys | undefined;
  /** What stands in Redis in place of `raw` by now. */
  standing: string | undefined;
  /** That stands there too (`Checkpoints.begin`). */
  hasBegun = false;
  /** It was lent in its turn under limits, and may start then. */
  turn: LentTurn | undefined;
  place = -1;
  readonly #reader: EnvelopeReader;
  #opened: (OpenedDelivery & { readonly deliveryTag: string }) | undefined;

  constructor({ loan, number, source, raw, reader, isFanout = false }: NewDelivery) {
    this.loan = loan as LoanId; // made here and nowhere else
    this.number = number;
    this.queue = source.queue;
    this.list = source.list;
    this.raw = raw;
    this.isFanout = isFanout;
    this.fair = source.fair;
    this.losses = readLosses(raw);
    this.#reader = reader;
  }

  open(): OpenedDelivery & { readonly deliveryTag: string } {
    return (this.#opened ??= this.#reader.read(this.raw));
  }
}

interface NewDelivery {
  readonly loan: string;
  readonly number: number;
  readonly source: QueueList;
  readonly raw: Buffer;
  readonly reader: EnvelopeReader;
  readonly isFanout?: boolean;
}

/** The start of a message that was lent in its turn. */
export interface LentTurn {
  /** By the clock of this process, ms: `clock.monotonic()`. */
  readonly dueAt: number;
  /** ms since 1970 by Redis's clock, as Redis wrote it. */
  readonly start: string;
}

/** One list of a queue. */
export interface QueueList {
  readonly queue: string;
  /** Its key. */
  readonly list: string;
  /** Its messages are taken by turns among their keys. */
  readonly fair?: FairKeys | undefined;
}

/** The envelope marked as delivered before, as kombu marks it; what is no envelope stays as it is. */
export function redelivered(raw: Buffer): string | Buffer {
  if (!isUtf8(raw)) return raw;
  try {
    return markRedelivered(raw.toString());
  } catch {
    return raw;
  }
}

/** Takes a loan's name apart: what its process begins loans with, number, newline, list. */
export function splitLoan(loan: string): { readonly number: number; readonly list: string } {
  const end = loan.indexOf("\n");
  return { number: Number(loan.slice(loan.lastIndexOf(".", end) + 1, end)), list: loan.slice(end + 1) };
}
