/** The memory broker's store with a second account of where every message is, kept from outside of the product. */
import type { DeadLetterRecord } from "../../src/brokers/broker.ts";
import { type Entry, type Loan, MemoryStore, type WorkerState } from "../../src/brokers/memory/store.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";

type BuryRest = Parameters<MemoryStore["bury"]> extends [Entry, DeadLetterRecord, ...infer Rest] ? Rest : never;

export class Broken extends Error {}

/** What is known of one message from outside. */
export interface Tracked {
  /** Undefined for what cannot be decoded. */
  readonly taskId: string | undefined;
  readonly retries: number;
  where: "waiting" | "onLoan" | "gone" | "dead";
  loan: Loan | undefined;
  owner: string | undefined;
  lentAt: number;
  losses: number;
  /** Bodies begun. */
  starts: number;
  /** Loans that ended after a body had begun under them: each may have it begin once more. */
  ended: number;
  isStarted: boolean;
  deadFor: DeadLetterRecord | undefined;
}

/** Tells a body for which message it runs: two of one attempt are there when a retry was published before its worker died. */
export const NUMBER_HEADER = "sim_number";

/** A retry copies the headers of its message, that one included. */
function numbered(envelope: string, number: number): string {
  const bare = envelope.replace(/"sim_number": \d+, /, "").replace(/, "sim_number": \d+/, "");
  return bare.replace('"headers": {', `"headers": {"${NUMBER_HEADER}": ${number}, `);
}

export class WatchedStore extends MemoryStore {
  /** When it is, for the account. */
  now: () => number = () => 0;
  /** Hears of each message that comes in. */
  onAdded: (raw: string | Uint8Array) => void = () => undefined;
  readonly all: Tracked[] = [];
  readonly byTask = new Map<string, Tracked[]>();
  /** Taken from their loan in the step that runs, and put nowhere yet. */
  readonly #limbo = new Set<Tracked>();
  readonly #tracked = new Map<Entry, Tracked>();
  /** Not lent yet: the store makes their entries out of sight, but their text is theirs alone. */
  readonly #fresh = new Map<string | Uint8Array, Tracked>();
  readonly #names = new Map<WorkerState, string>();
  readonly #byLoan = new Map<string, Tracked>();

  override add(queue: string, given: string | Uint8Array, priority: number): void {
    const raw = typeof given === "string" ? numbered(given, this.all.length) : given;
    this.onAdded(given);
    let taskId: string | undefined;
    let retries = 0;
    try {
      const { headers } = decodeEnvelope(raw).message;
      taskId = headers["id"] as string;
      retries = headers["retries"] as number;
    } catch {
      // what was injected because it cannot be decoded
    }
    const tracked: Tracked = {
      taskId,
      retries,
      where: "waiting",
      loan: undefined,
      owner: undefined,
      lentAt: 0,
      losses: 0,
      starts: 0,
      ended: 0,
      isStarted: false,
      deadFor: undefined,
    };
    this.#fresh.set(raw, tracked);
    this.all.push(tracked);
    const same = this.byTask.get(taskId ?? "");
    if (same) same.push(tracked);
    else this.byTask.set(taskId ?? "", [tracked]);
    super.add(queue, raw, priority);
  }

  override worker(name: string): WorkerState {
    const state = super.worker(name);
    this.#names.set(state, name);
    return state;
  }

  override reserve(worker: WorkerState, names: readonly string[], want: number, maxBytes: number): Loan[] {
    const loans = super.reserve(worker, names, want, maxBytes);
    for (const loan of loans) {
      const tracked = this.#of(loan.entry);
      if (tracked.where !== "waiting") throw new Broken(`lent while it is ${tracked.where}: ${tracked.taskId}`);
      tracked.where = "onLoan";
      tracked.loan = loan;
      tracked.owner = this.#names.get(worker);
      tracked.isStarted = false;
      tracked.lentAt = this.now();
      this.#byLoan.set(loan.id, tracked);
    }
    return loans;
  }

  override endLoan(id: string): Entry | undefined {
    const entry = super.endLoan(id);
    if (entry === undefined) return undefined;
    const tracked = this.#of(entry);
    if (tracked.where !== "onLoan" || tracked.loan?.id !== id) throw new Broken(`a loan ended that is none: ${tracked.taskId}`);
    if (tracked.isStarted) tracked.ended += 1;
    this.#byLoan.delete(id);
    tracked.where = "gone";
    tracked.loan = undefined;
    tracked.owner = undefined;
    this.#limbo.add(tracked);
    return entry;
  }

  override toFront(entries: readonly Entry[]): void {
    super.toFront(entries);
    for (const entry of entries) this.#put(entry, "waiting");
  }

  override toBack(entry: Entry): void {
    super.toBack(entry);
    this.#put(entry, "waiting");
  }

  override park(entry: Entry, dueAt: number): void {
    super.park(entry, dueAt);
    this.#put(entry, "waiting");
  }

  override bury(entry: Entry, record: DeadLetterRecord, ...rest: BuryRest): void {
    super.bury(entry, record, ...rest);
    this.#put(entry, "dead").deadFor = record;
  }

  /** What was taken from its loan and put nowhere: acknowledged. */
  takeGone(): Tracked[] {
    const gone = [...this.#limbo];
    this.#limbo.clear();
    return gone;
  }

  tracked(loanId: string): Tracked | undefined {
    return this.#byLoan.get(loanId);
  }

  #put(entry: Entry, where: "waiting" | "dead"): Tracked {
    const tracked = this.#of(entry);
    if (!this.#limbo.delete(tracked)) throw new Broken(`put in a second place: ${tracked.taskId}`);
    tracked.where = where;
    tracked.losses = entry.losses;
    return tracked;
  }

  #of(entry: Entry): Tracked {
    let tracked = this.#tracked.get(entry);
    if (tracked === undefined) {
      tracked = this.#fresh.get(entry.raw);
      if (tracked === undefined) throw new Broken("a message came from nowhere");
      this.#fresh.delete(entry.raw);
      this.#tracked.set(entry, tracked);
    }
    return tracked;
  }
}
