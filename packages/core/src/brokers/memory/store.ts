/**
 * The messages of one named memory broker and every step they can take. All synchronous: what one call does, nobody
 * sees half done.
 * Invariant: an entry is in one ready list, in the loans of one worker, parked, in a group, among the dead letters, or gone.
 */
import { PRIORITY_STEPS, priorityStep, type PriorityStep } from "../priority.ts";
import { boundQueues, type Binding } from "../topic.ts";
import type { DeadLetterCaps, DeadLetterRecord, QueueDepth, QueueSpec } from "../broker.ts";
import { takeFairly } from "../fair-take.ts";
import { afterLoss } from "../losses.ts";
import type { Inbox } from "../inbox.ts";
import type { TakePlan } from "../queue-order.ts";
import type { QueuePause } from "../queue-pauses.ts";
import type { FairKey } from "../../protocol/fair-key.ts";
import type { FoundMessage } from "../search.ts";
import type { Message } from "../../protocol/message.ts";
import { Deque } from "./deque.ts";
import { Graveyard } from "./dead-letters.ts";
import { FairLine } from "./fair-lines.ts";
import { MemoryLimitRows } from "./limits.ts";
import type { UniqueRow } from "../unique-ledger.ts";

/** One message, as its envelope. Changed only by replacing `raw` and raising `losses`. */
export interface Entry {
  readonly queue: string;
  readonly step: PriorityStep;
  raw: string | Uint8Array;
  losses: number;
  /** The number of its last loan; 0 for one that is at the back of its queue. */
  lent: number;
  /** Known once it was sorted in a fair queue. */
  fairKey?: FairKey;
}

export interface ReserveHow {
  /** Queues that are taken from by turns among their keys. */
  readonly fair?: ReadonlySet<string> | undefined;
  /** In place of equal shares. */
  readonly plan?: TakePlan | undefined;
}

export interface Loan {
  readonly id: string;
  readonly entry: Entry;
  readonly worker: WorkerState;
  /** It was taken from the line of its key. */
  readonly isFair: boolean;
  hasBegun: boolean;
}

interface Queue {
  readonly ready: Readonly<Record<PriorityStep, Deque<Entry>>>;
  /** By due time; equal times keep their order. */
  readonly parked: Parked[];
  readonly dead: Graveyard;
  readonly fair: FairLine;
}

interface Parked {
  readonly dueAt: number;
  readonly entry: Entry;
}

export interface WorkerState {
  readonly loans: Set<Loan>;
  /** The open broker that consumes under this name. */
  consumer: object | undefined;
  /** Monotonic ms; undefined until the first renewal. */
  leaseEnds: number | undefined;
  /** Swept, and not told yet. */
  lost: boolean;
}

interface Waiter {
  readonly queues: ReadonlySet<string>;
  readonly wake: () => void;
}

/** A mark that is kept, by its number in the order of additions. */
export interface MemoryMark {
  readonly number: number;
  /** ms since 1970. */
  readonly until: number;
}

/** Messages that are to become one in their queue. */
export interface HeldGroup {
  readonly queue: string;
  readonly dueAt: number;
  readonly envelopes: (string | Uint8Array)[];
}

export interface Subscription {
  readonly exchange: string;
  readonly pattern: string;
  readonly inbox: Inbox<Message>;
}

const NONE: ReadonlySet<string> = new Set();

export class MemoryStore {
  /** Messages that are to become one, by group. */
  readonly groups = new Map<string, HeldGroup>();
  readonly subscriptions = new Set<Subscription>();
  /** The oldest first. */
  readonly revoked = new Map<string, MemoryMark>();
  readonly paused = new Map<string, QueuePause>();
  readonly pauseWatchers = new Set<() => void>();
  /** What limits allow, and what waits for them. */
  readonly limits = new MemoryLimitRows<Entry>((entry) => this.#return(entry, "front"));
  /** Locks of unique tasks by name. */
  readonly uniques = new Map<string, UniqueRow<Entry>>();
  readonly #queues = new Map<string, Queue>();
  readonly #bindings = new Map<string, Map<string, Binding>>();
  readonly #workers = new Map<string, WorkerState>();
  readonly #loans = new Map<string, Loan>();
  readonly #waiters = new Set<Waiter>();
  #number = 1;
  #turn = 0;

  /** The queues that a message to this address reaches; none when nothing is bound. */
  route(exchange: string, routingKey: string): readonly string[] {
    if (exchange === "") return [routingKey];
    return boundQueues(this.#bindings.get(exchange)?.values() ?? [], routingKey);
  }

  bind(spec: QueueSpec): void {
    this.#queue(spec.name);
    if (spec.exchange === "") return;
    let bindings = this.#bindings.get(spec.exchange);
    if (bindings === undefined) this.#bindings.set(spec.exchange, (bindings = new Map()));
    const binding = { queue: spec.name, type: spec.exchangeType, key: spec.routingKey };
    bindings.set(JSON.stringify(binding), binding);
  }

  add(queue: string, raw: string | Uint8Array, priority: number): void {
    this.#return({ queue, step: priorityStep(priority), raw, losses: 0, lent: 0 }, "back");
  }

  /**
   * Lends up to `want` entries: all queues at one step before the next step; within a step the first queue rotates and
   * each gives at most its share, so that a long queue starves no other. A fair queue is asked with the first step, for all of its steps.
   * With a plan it is the plan that says.
   */
  reserve(worker: WorkerState, names: readonly string[], want: number, maxBytes: number, how: ReserveHow = {}): Loan[] {
    const { fair = NONE, plan } = how;
    const batch: Loan[] = [];
    let bytes = 0;
    const lend = (entry: Entry, isFair: boolean): boolean => {
      if (batch.length > 0 && bytes + entry.raw.length > maxBytes) return false;
      bytes += entry.raw.length;
      entry.lent = this.nextNumber();
      const loan = { id: String(entry.lent), entry, worker, isFair, hasBegun: false };
      this.#loans.set(loan.id, loan);
      worker.loans.add(loan);
      batch.push(loan);
      return true;
    };
    const take = (list: Deque<Entry> | FairLine, atMost: number): number => {
      if (list instanceof FairLine) return list.take(atMost, (entry) => lend(entry, true));
      for (let taken = 0; taken < atMost; taken++) {
        const entry = list.peek();
        if (entry === undefined || !lend(entry, false)) return taken;
        list.takeFront();
      }
      return atMost;
    };
    for (const { queue, most } of plan?.steps ?? []) {
      const until = Math.min(want, batch.length + most);
      const { ready, fair: line } = this.#queue(queue);
      if (fair.has(queue)) {
        line.sort(ready);
        take(line, until - batch.length);
      } else for (const step of PRIORITY_STEPS) take(ready[step], until - batch.length);
    }
    if (plan !== undefined) return batch;
    this.#turn++;
    for (const step of PRIORITY_STEPS) {
      const lists = names.flatMap((name): (Deque<Entry> | FairLine)[] => {
        const queue = this.#queue(name);
        if (!fair.has(name)) return queue.ready[step].size > 0 ? [queue.ready[step]] : [];
        if (step !== 0) return [];
        queue.fair.sort(queue.ready);
        return [queue.fair];
      });
      takeFairly(lists, want - batch.length, this.#turn, take);
    }
    return batch;
  }

  /** The lines of a queue by key, and how many messages are not in them yet. */
  fair(name: string): { readonly line: FairLine; readonly unsorted: number } {
    const { fair, ready } = this.#queue(name);
    return { line: fair, unsorted: PRIORITY_STEPS.reduce<number>((sum, step) => sum + ready[step].size, 0) };
  }

  /** What is sorted is unsorted again, behind what came meanwhile. */
  releaseFair(name: string): number {
    const entries = this.#queue(name).fair.release();
    for (const entry of entries) this.#return(entry, "back");
    return entries.length;
  }

  /** Ends a loan and hands its entry to the caller, who must put it somewhere in the same turn. Undefined when it is lost. */
  endLoan(id: string): Entry | undefined {
    const loan = this.#loans.get(id);
    if (loan === undefined) return undefined;
    this.#loans.delete(id);
    loan.worker.loans.delete(loan);
    const { entry, isFair } = loan;
    if (isFair && entry.fairKey !== undefined && this.#queue(entry.queue).fair.ended(entry.fairKey)) this.wake(entry.queue);
    return entry;
  }

  /** The entry of a loan; undefined when it is lost. */
  onLoan(id: string): Entry | undefined {
    return this.#loans.get(id)?.entry;
  }

  /** False when the loan is lost. */
  begin(id: string): boolean {
    const loan = this.#loans.get(id);
    if (loan !== undefined) loan.hasBegun = true;
    return loan !== undefined;
  }

  /** Ends all loans of a worker that is gone, with their losses counted, in the order they were lent. */
  loseLoans(worker: WorkerState): Entry[] {
    for (const { entry, hasBegun } of worker.loans)
      entry.losses = afterLoss({ losses: entry.losses, hasBegun, bytes: Buffer.byteLength(entry.raw) });
    return this.endLoans(worker);
  }

  /** Ends all loans of a worker, in the order they were lent. */
  endLoans(worker: WorkerState): Entry[] {
    return [...worker.loans].map(({ id, entry }) => {
      this.endLoan(id);
      return entry;
    });
  }

  /** The first lent becomes the first again. */
  toFront(entries: readonly Entry[]): void {
    for (const entry of entries.toSorted((a, b) => a.lent - b.lent).toReversed()) this.#return(entry, "front");
  }

  toBack(entry: Entry): void {
    entry.lent = 0;
    this.#return(entry, "back");
  }

  park(entry: Entry, dueAt: number): void {
    const { parked } = this.#queue(entry.queue);
    let low = 0;
    let high = parked.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((parked[middle] as Parked).dueAt <= dueAt) low = middle + 1;
      else high = middle;
    }
    parked.splice(low, 0, { dueAt, entry });
  }

  /** Takes a parked entry out, to be put elsewhere in the same turn. False when it is not parked any more. */
  takeParked(entry: Entry): boolean {
    const { parked } = this.#queue(entry.queue);
    const at = parked.findIndex((each) => each.entry === entry);
    if (at !== -1) parked.splice(at, 1);
    return at !== -1;
  }

  /** Returns what is due at `now` to the front of its queue, so that the earliest is taken first. */
  unpark(now: number, only?: string): { moved: number; nextDueAt: number | undefined } {
    let moved = 0;
    let nextDueAt: number | undefined;
    for (const [name, { parked }] of this.#queues) {
      if (only !== undefined && name !== only) continue;
      const first = parked.findIndex(({ dueAt }) => dueAt > now);
      const due = parked.splice(0, first === -1 ? parked.length : first);
      for (const { entry } of due.toReversed()) this.#return(entry, "front");
      moved += due.length;
      const next = parked[0]?.dueAt;
      if (next !== undefined && (nextDueAt === undefined || next < nextDueAt)) nextDueAt = next;
    }
    return { moved, nextDueAt };
  }

  bury(entry: Entry, record: DeadLetterRecord, caps: DeadLetterCaps): void {
    this.#queue(entry.queue).dead.add(this.nextNumber(), { ...record, queue: entry.queue, raw: entry.raw }, caps);
  }

  dead(queue: string): Graveyard {
    return this.#queue(queue).dead;
  }

  purge(name: string): number {
    const { ready, parked, fair } = this.#queue(name);
    let count = parked.splice(0).length + fair.release().length + this.limits.purge(name);
    for (const step of PRIORITY_STEPS) {
      count += ready[step].size;
      ready[step].clear();
    }
    for (const [group, { queue, envelopes }] of this.groups) {
      if (queue !== name) continue;
      count += envelopes.length;
      this.groups.delete(group);
    }
    return count;
  }

  depth(name: string): QueueDepth {
    const { ready, parked, dead, fair } = this.#queue(name);
    let onLoan = 0;
    for (const { entry } of this.#loans.values()) if (entry.queue === name) onLoan++;
    const count = PRIORITY_STEPS.reduce<number>((sum, step) => sum + ready[step].size, fair.waiting);
    let held = this.limits.countWaiting(name);
    for (const { queue, envelopes } of this.groups.values()) if (queue === name) held += envelopes.length;
    return { queue: name, ready: count, parked: parked.length + held, onLoan, dead: dead.size };
  }

  /** All that is on loan, and all that is ready, parked or held by a limit in these queues. */
  *messages(queues: readonly string[]): IterableIterator<FoundMessage> {
    for (const [name, { loans }] of this.#workers)
      for (const { entry } of loans) yield { at: { kind: "loan", worker: name }, raw: entry.raw };
    for (const queue of queues) {
      const { ready, parked, fair } = this.#queue(queue);
      for (const { raw } of fair) yield { at: { kind: "queue", queue }, raw };
      for (const step of PRIORITY_STEPS) for (const { raw } of ready[step]) yield { at: { kind: "queue", queue }, raw };
      for (const { dueAt, entry } of parked) yield { at: { kind: "parked", queue, dueAt }, raw: entry.raw };
      for (const { queue: of, dueAt, envelopes } of this.groups.values())
        if (of === queue) for (const raw of envelopes) yield { at: { kind: "parked", queue, dueAt }, raw };
      for (const [limit, { raw }] of this.limits.allWaiting(queue)) yield { at: { kind: "held", queue, limit }, raw };
    }
  }

  worker(name: string): WorkerState {
    let state = this.#workers.get(name);
    if (state === undefined) {
      state = { loans: new Set(), consumer: undefined, leaseEnds: undefined, lost: false };
      this.#workers.set(name, state);
    }
    return state;
  }

  /** Whether there is such a worker, and its loans are its own. */
  isAlive(name: string): boolean {
    return this.#workers.get(name)?.lost === false;
  }

  /** Whether its lease is in force. */
  hasLease(name: string, monotonic: number): boolean {
    const state = this.#workers.get(name);
    return state?.lost === false && (state.leaseEnds ?? Infinity) > monotonic;
  }

  workers(): IterableIterator<[string, WorkerState]> {
    return this.#workers.entries();
  }

  forgetWorker(name: string): void {
    this.#workers.delete(name);
  }

  nextNumber(): number {
    return this.#number++;
  }

  /** Calls `wake` once, when one of the queues gets a message. The function it returns gives up. */
  onMessage(queues: readonly string[], wake: () => void): () => void {
    const waiter = { queues: new Set(queues), wake };
    this.#waiters.add(waiter);
    return () => this.#waiters.delete(waiter);
  }

  /** Whoever waits for messages of that queue. */
  wake(queue: string): void {
    for (const waiter of this.#waiters) {
      if (!waiter.queues.has(queue)) continue;
      this.#waiters.delete(waiter);
      waiter.wake();
    }
  }

  wakeAll(): void {
    for (const { wake } of this.#waiters) wake();
    this.#waiters.clear();
  }

  #return(entry: Entry, to: "front" | "back"): void {
    const list = this.#queue(entry.queue).ready[entry.step];
    if (to === "front") list.pushFront(entry);
    else list.pushBack(entry);
    this.wake(entry.queue);
  }

  #queue(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      const ready = { 0: new Deque<Entry>(), 3: new Deque<Entry>(), 6: new Deque<Entry>(), 9: new Deque<Entry>() };
      this.#queues.set(name, (queue = { ready, parked: [], dead: new Graveyard(), fair: new FairLine() }));
    }
    return queue;
  }
}
