/** Limits in the embedded database: rows, and the rules of `limit-ledger.ts`. Everything here is called in a write transaction. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import { CATCH_UP_MS } from "../gcra.ts";
import type { KeptStart, LimitRows, WaitingMessage } from "../limit-ledger.ts";
import { specInForce } from "../limit-specs.ts";
import { limitText, readLimitText } from "../limit-text.ts";
import { LimitsByLedger, type LimitOverview } from "../limits-by-ledger.ts";
import { limitName, type LimitSpec, type LimitTable } from "../limits.ts";
import { parseLoan } from "./delivery.ts";
import { LeaseRows } from "./lease-rows.ts";
import { type MessageRow, MessageRows } from "./message-rows.ts";

/** A message, and the number of its row while it waits. */
interface Waiting {
  readonly row: MessageRow;
  readonly number: number;
}

interface WaitingRow extends MessageRow {
  readonly number: number;
  readonly since: number;
  readonly ordinal: number;
  readonly task: string;
  readonly limits: string;
  readonly expires: number | null;
}

const BREAK = "\f";
const joined = (ids: readonly string[]): string => ids.join(BREAK);
const split = (text: string): readonly string[] => (text === "" ? [] : text.split(BREAK));

export function sqliteLimits(file: SqliteFile, timing: { readonly timeoutMs: number }): LimitsByLedger<Waiting> {
  const leases = new LeaseRows(file);
  return new LimitsByLedger({
    rows: new SqliteLimitRows(file),
    now: () => file.clock.now(),
    step: async (work, signal) => await file.write(work, { signal, timeoutMs: signal === undefined ? timing.timeoutMs : Infinity }),
    endLoan({ loan }) {
      const { holder, take, message } = parseLoan(loan);
      const row = file.sql("settle.endKnown").get(holder, take, message) as MessageRow | undefined;
      return row && { row, number: 0 };
    },
    isAlive: (worker) => leases.find(worker)?.lost === 0,
    returned: () => file.bell.ring("ready"),
  });
}

class SqliteLimitRows implements LimitRows<Waiting>, LimitOverview {
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;

  constructor(file: SqliteFile) {
    this.#file = file;
    this.#messages = new MessageRows(file);
  }

  table(): LimitTable {
    return tableOf(this.#file.sql("limit.specs").all() as SpecRow[]);
  }

  declare(name: string, spec: LimitSpec): void {
    this.#file.sql("limit.setSpec").run(`d:${name}`, limitText(spec));
  }

  set(id: string, spec: LimitSpec | null | undefined): void {
    if (spec === undefined) this.#file.sql("limit.unsetSpec").run(`s:${id}`);
    else this.#file.sql("limit.setSpec").run(`s:${id}`, limitText(spec));
  }

  spec(id: string): LimitSpec | undefined {
    const name = limitName(id);
    return specInForce(tableOf(this.#file.sql("limit.spec").all(`s:${id}`, `s:${name}`, `d:${name}`) as SpecRow[]), id);
  }

  tat(id: string): number {
    return (this.#file.sql("limit.tat").get(id) as { tat: number } | undefined)?.tat ?? 0;
  }

  setTat(id: string, tat: number): void {
    this.#file.sql("limit.setTat").run(id, tat);
  }

  tatsAfter(time: number): readonly string[] {
    return (this.#file.sql("limit.tatsAfter").all(time) as { id: string }[]).map(({ id }) => id);
  }

  running(id: string): number {
    return (this.#file.sql("limit.running").get(id) as { running: number } | undefined)?.running ?? 0;
  }

  addRunning(id: string, by: number): void {
    this.#file.sql("limit.addRunning").run(id, by);
    if (by < 0) this.#file.sql("limit.notRunning").run(id);
  }

  runningIds(): readonly string[] {
    return (this.#file.sql("limit.runningIds").all() as { id: string }[]).map(({ id }) => id);
  }

  hold(worker: string, hold: string, places: readonly string[]): void {
    this.#file.sql("limit.hold").run(worker, hold, joined(places));
  }

  takeHold(worker: string, hold: string): readonly string[] | undefined {
    const row = this.#file.sql("limit.takeHold").get(worker, hold) as { places: string } | undefined;
    return row && split(row.places);
  }

  takeHoldsOf(worker: string): readonly (readonly string[])[] {
    return (this.#file.sql("limit.takeHoldsOf").all(worker) as { places: string }[]).map(({ places }) => split(places));
  }

  holders(): readonly string[] {
    return (this.#file.sql("limit.holders").all() as { worker: string }[]).map(({ worker }) => worker);
  }

  keep(id: string, { startAt, places }: KeptStart): void {
    this.#file.sql("limit.keep").run(id, startAt, joined(places));
  }

  takeKept(id: string): KeptStart | undefined {
    const row = this.#file.sql("limit.takeKept").get(id) as KeptRow | undefined;
    return row && keptOf(row);
  }

  countKept(): number {
    return (this.#file.sql("limit.countKept").get() as { count: number }).count;
  }

  takeStale(before: number): readonly KeptStart[] {
    this.#file.sql("limit.forgetTats").run(before - CATCH_UP_MS);
    return (this.#file.sql("limit.takeStale").all(before) as KeptRow[]).map(keptOf);
  }

  wait(limit: string, { id, limits, expiresAt, since, order, item }: WaitingMessage<Waiting>): void {
    const { message, queue, step, place, losses, bytes } = item.row;
    const expires = expiresAt ?? null;
    this.#file.sql("limit.wait").run(queue, limit, since, order, id, joined(limits), expires, message, step, place, losses, bytes);
  }

  firstWaiting(queue: string, limit: string): WaitingMessage<Waiting> | undefined {
    const row = this.#file.sql("limit.firstWaiting").get(this.#number(queue), limit) as WaitingRow | undefined;
    if (row === undefined) return undefined;
    const { number, since, ordinal, task, limits, expires } = row;
    return { queue, id: task, limits: split(limits), expiresAt: expires ?? undefined, since, order: ordinal, item: { row, number } };
  }

  endWait(_limit: string, { item }: WaitingMessage<Waiting>): void {
    this.#file.sql("limit.endWait").run(item.number);
  }

  turnAt(queue: string, limit: string): number | undefined {
    return (this.#file.sql("limit.turn").get(this.#number(queue), limit) as { turn: number } | undefined)?.turn;
  }

  setTurn(queue: string, limit: string, at: number | undefined): void {
    if (at === undefined) this.#file.sql("limit.endTurn").run(this.#number(queue), limit);
    else this.#file.sql("limit.setTurn").run(this.#number(queue), limit, at);
  }

  turnsUntil(queue: string, until: number, max: number): readonly string[] {
    return (this.#file.sql("limit.turnsUntil").all(this.#number(queue), until, max) as { id: string }[]).map(({ id }) => id);
  }

  firstTurn(queue: string): number | undefined {
    return (this.#file.sql("limit.firstTurn").get(this.#number(queue)) as { turn: number | null }).turn ?? undefined;
  }

  returnToQueue(messages: readonly WaitingMessage<Waiting>[]): void {
    this.#messages.toFront(messages.map(({ item }) => item.row));
  }

  queues(): readonly string[] {
    return (this.#file.sql("limit.queues").all() as { name: string }[]).map(({ name }) => name);
  }

  waiting(queue: string): ReadonlyMap<string, number> {
    const rows = this.#file.sql("limit.waiting").all(this.#number(queue)) as { id: string; count: number }[];
    return new Map(rows.map(({ id, count }) => [id, count]));
  }

  /** -1 for a queue that nobody has used. */
  #number(queue: string): number {
    return this.#messages.known(queue) ?? -1;
  }
}

interface SpecRow {
  readonly field: string;
  readonly spec: string;
}

interface KeptRow {
  readonly start: number;
  readonly places: string;
}

const keptOf = ({ start, places }: KeptRow): KeptStart => ({ startAt: start, places: split(places) });

function tableOf(rows: readonly SpecRow[]): LimitTable {
  const declared = new Map<string, LimitSpec>();
  const set = new Map<string, LimitSpec | null>();
  for (const { field, spec: text } of rows) {
    const spec = readLimitText(text);
    if (spec === undefined) continue;
    if (field.startsWith("s:")) set.set(field.slice(2), spec);
    else if (spec !== null) declared.set(field.slice(2), spec);
  }
  return { declared, set };
}
