/**
 * The moves of messages between their places: ready, on loan, parked, dead, gone. All synchronous, and all to be called
 * in a write transaction of the file: a move is a row that leaves one table and enters another.
 */
import { redelivered, type Envelope } from "../envelope-edits.ts";
import { takeFairly } from "../fair-take.ts";
import type { TakePlan } from "../queue-order.ts";
import { PRIORITY_STEPS, type PriorityStep } from "../priority.ts";
import { boundQueues, type Binding } from "../topic.ts";
import type { DeadLetterCaps, DeadLetterReason, DeadLetterRecord, LoanId } from "../broker.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import { parseLoan } from "./delivery.ts";
import { FairRows } from "./fair-rows.ts";

/** A message with its address, encoded. */
export interface Posted {
  readonly text: Envelope;
  readonly exchange: string;
  readonly routingKey: string;
  readonly step: PriorityStep;
}

/** A message as the narrow tables know it. */
export interface MessageRow {
  readonly message: number;
  readonly queue: number;
  readonly step: number;
  readonly place: number;
  readonly losses: number;
  readonly bytes: number;
}

export interface LentRow {
  readonly queue: string;
  readonly message: number;
  readonly losses: number;
  readonly envelope: Envelope;
  readonly isFair?: boolean;
}

export interface Reserve {
  readonly holder: number;
  readonly take: number;
  readonly queues: readonly string[];
  readonly want: number;
  readonly maxBytes: number;
  /** Counts up, so that another queue comes first each time. */
  readonly turn: number;
  /** Those of the queues that are taken by turns among keys; what is to be lent of them is sorted. */
  readonly fair?: ReadonlySet<string> | undefined;
  /** In place of equal shares. */
  readonly plan?: TakePlan | undefined;
}

interface Lane {
  readonly queue: string;
  readonly step: PriorityStep;
  readonly texts: Envelope[];
}

export interface ExhumedRow extends Omit<MessageRow, "place" | "losses" | "queue"> {
  readonly reason: DeadLetterReason;
}

export class MessageRows {
  readonly #file: SqliteFile;
  readonly #fair: FairRows;

  constructor(file: SqliteFile) {
    this.#file = file;
    this.#fair = new FairRows(file);
  }

  /** Puts messages at the back of the queues they reach. Answers for each whether it reached any. */
  post(messages: readonly Posted[]): readonly boolean[] {
    const lanes = new Map<string, Lane>();
    const bindings = new Map<string, readonly Binding[]>();
    const reached = messages.map(({ text, exchange, routingKey, step }) => {
      const queues = this.route(exchange, routingKey, bindings);
      for (const queue of queues) {
        const key = `${step} ${queue}`;
        let lane = lanes.get(key);
        if (lane === undefined) lanes.set(key, (lane = { queue, step, texts: [] }));
        lane.texts.push(text);
      }
      return queues.length > 0;
    });
    const insert = this.#file.sql("publish.message");
    for (const { queue, step, texts } of lanes.values()) {
      let last = 0;
      for (const text of texts) last = Number(insert.run(text).lastInsertRowid);
      this.#file.sql("publish.ready").run(this.number(queue), step, last - texts.length + 1, last);
    }
    return reached;
  }

  /** The queues that a message to this address reaches. @param known bindings that were read in this transaction */
  route(exchange: string, routingKey: string, known = new Map<string, readonly Binding[]>()): readonly string[] {
    return exchange === "" ? [routingKey] : boundQueues(this.#bindings(exchange, known), routingKey);
  }

  /** A message that is parked from the start, in the queue that its routing key names. Its number. */
  postParked({ text, routingKey, step }: Posted, dueAt: number): number {
    const message = Number(this.#file.sql("publish.message").run(text).lastInsertRowid);
    const row = { message, queue: this.number(routingKey), step, place: message, losses: 0, bytes: Buffer.byteLength(text) };
    this.park(dueAt, row);
    return message;
  }

  /**
   * Lends messages, all queues at one step before the next step, the queues of a step by turns, or as the plan says. A fair queue is asked
   * with the first step, for all of its steps.
   */
  reserve({ holder, take, queues, want, maxBytes, turn, fair, plan }: Reserve): LentRow[] {
    const filled = queues.map((name) => {
      const queue = this.known(name);
      return { name, queue, steps: queue === undefined ? undefined : this.filledSteps(queue) };
    });
    const lent: LentRow[] = [];
    let bytesLeft = maxBytes;
    const takeFrom = (step: PriorityStep, { name, queue = 0 }: (typeof filled)[number], atMost: number): number => {
      const cut = this.#measure(queue, step, atMost, bytesLeft, lent.length === 0);
      if (cut === undefined) return 0;
      for (const row of this.#file.sql("reserve.read").all(queue, step, cut.last)) {
        const { message, losses, envelope } = row as { message: number; losses: number; envelope: Envelope };
        lent.push({ queue: name, message, losses, envelope });
      }
      this.#file.sql("reserve.lend").run(queue, step, cut.last, holder, take);
      this.#file.sql("reserve.take").run(queue, step, cut.last);
      bytesLeft -= cut.bytes;
      return cut.count;
    };
    const takeByTurns = ({ name, queue = 0 }: (typeof filled)[number], atMost: number): number => {
      let taken = 0;
      const fits = (bytes: number): boolean => {
        if (bytes > bytesLeft && lent.length + taken > 0) return false;
        bytesLeft -= bytes;
        taken += 1;
        return true;
      };
      lent.push(...this.#fair.reserve(queue, name, { holder, take, want: atMost, fits }));
      return taken;
    };
    for (const { queue, most } of plan?.steps ?? []) {
      const until = Math.min(want, lent.length + most);
      const list = filled.find(({ name }) => name === queue);
      if (list?.steps === undefined) continue;
      if (fair?.has(queue)) takeByTurns(list, until - lent.length);
      else for (const step of PRIORITY_STEPS) if (list.steps[step] === 1) takeFrom(step, list, until - lent.length);
    }
    for (const step of plan === undefined ? PRIORITY_STEPS : []) {
      if (lent.length >= want) break;
      const lists = filled.filter(({ name, steps }) => (fair?.has(name) ? step === 0 && steps !== undefined : steps?.[step] === 1));
      takeFairly(lists, want - lent.length, turn, (list, atMost) =>
        fair?.has(list.name) ? takeByTurns(list, atMost) : takeFrom(step, list, atMost),
      );
    }
    return lent;
  }

  /** 1 for each step at which the queue holds messages, else 0. */
  filledSteps(queue: number): Readonly<Record<PriorityStep, number>> {
    return this.#file.sql("reserve.steps").get(queue) as Readonly<Record<PriorityStep, number>>; // columns named after the steps
  }

  /** To the front of their queues, in the order of their places. */
  returned(rows: readonly MessageRow[]): void {
    this.toFront(rows.toSorted((a, b) => a.place - b.place));
  }

  /** To the front of their queues, the first of them foremost. */
  toFront(rows: readonly MessageRow[]): void {
    for (const { queue, step, place, message, losses, bytes } of rows.toReversed()) {
      const { place: first } = this.#file.sql("settle.firstPlace").get(queue, step) as { place: number | null };
      const front = first === null ? place : Math.min(place, first - 1);
      this.#file.sql("settle.ready").run(queue, step, front, message, losses, bytes);
    }
  }

  /** Back exactly as they were. What is lost by now is left alone. */
  returnLoans(loans: readonly LoanId[]): void {
    const end = this.#file.sql("settle.endKnown");
    const rows = loans.map((loan) => {
      const { holder, take, message } = parseLoan(loan);
      return end.get(holder, take, message) as MessageRow | undefined;
    });
    this.returned(rows.filter((row) => row !== undefined));
  }

  /** To the back of its queue, as a message of a new number. */
  toBack({ queue, step, message, losses, bytes }: Omit<MessageRow, "place">): void {
    const number = Number(this.#file.sql("settle.renumber").run(message).lastInsertRowid);
    this.drop(message);
    this.#file.sql("settle.ready").run(queue, step, number, number, losses, bytes);
  }

  park(dueAt: number, { message, queue, step, place, losses, bytes }: MessageRow): void {
    this.#file.sql("park.park").run(dueAt, message, queue, step, place, losses, bytes);
  }

  /** Among the dead letters of its queue, of which the oldest make room. */
  bury({ message, queue, step, bytes }: MessageRow, record: DeadLetterRecord, caps: DeadLetterCaps): void {
    const { id, task = null, reason, error, stack = null, worker, at, losses, retries } = record;
    this.#file.sql("dead.bury").run(queue, id, message, step, bytes, task, reason, error, worker, at, losses, retries, stack);
    for (;;) {
      const totals = this.#file.sql("dead.totals").get(queue) as { count: number; bytes: number };
      const oldest = this.#file.sql("dead.oldest").get(queue) as { number: number; message: number; at: number };
      const isOver = totals.count > caps.max || totals.bytes > caps.maxBytes || oldest.at < at - caps.maxAgeMs;
      if (!isOver || oldest.message === message) break;
      this.#file.sql("dead.remove").run(oldest.number);
      this.drop(oldest.message);
    }
  }

  /** Takes the newest of that id out of the dead letters and hands it on. False when there is none. */
  exhume(queue: number, id: string, to: (row: ExhumedRow) => void): boolean {
    const row = this.#file.sql("dead.exhume").get(queue, id) as ExhumedRow | undefined;
    if (row !== undefined) to(row);
    return row !== undefined;
  }

  drop(message: number): void {
    this.#file.sql("settle.drop").run(message);
  }

  envelope(message: number): Envelope {
    return (this.#file.sql("settle.envelope").get(message) as { envelope: Envelope }).envelope;
  }

  rewrite(message: number, envelope: Envelope): void {
    this.#file.sql("settle.rewrite").run(message, envelope);
  }

  markRedelivered(message: number): void {
    this.rewrite(message, redelivered(this.envelope(message)));
  }

  /** A queue's number, which is made on first use. */
  number(queue: string): number {
    return this.known(queue) ?? Number(this.#file.sql("publish.addQueue").run(queue).lastInsertRowid);
  }

  known(queue: string): number | undefined {
    return (this.#file.sql("publish.queueNumber").get(queue) as { id: number } | undefined)?.id;
  }

  /** How many of the first `atMost` messages fit into `bytesLeft`; the very first message of a batch always fits. */
  #measure(queue: number, step: number, atMost: number, bytesLeft: number, first: boolean) {
    for (let limit = atMost; limit >= 1; limit = Math.floor(limit / 2)) {
      const cut = this.#file.sql("reserve.measure").get(queue, step, limit) as { count: number; bytes: number; last: number };
      if (cut.count === 0) return undefined;
      if (cut.bytes <= bytesLeft || (first && cut.count === 1)) return cut;
    }
    return undefined;
  }

  #bindings(exchange: string, known: Map<string, readonly Binding[]>): readonly Binding[] {
    let bindings = known.get(exchange);
    if (bindings === undefined) {
      bindings = this.#file.sql("publish.bindings").all(exchange) as Binding[]; // written by `bind` alone
      known.set(exchange, bindings);
    }
    return bindings;
  }
}
