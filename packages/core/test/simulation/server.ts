/**
 * The broker as a server that outlives every process: the memory broker on one store, and what a networked broker keeps
 * for its clients so that a lost answer costs nothing: the numbers of batches it has executed, and what it lent to a
 * consumer that has not said yet that it heard of it.
 */
import type { Broker, Delivery, Outgoing, SettleAnswer, Settlement, SweepOptions, SweepReport } from "../../src/brokers/broker.ts";
import { MemoryBroker } from "../../src/brokers/memory/memory-broker.ts";
import { MemoryBackend, MemoryResults } from "../../src/results/memory/memory-backend.ts";
import type { Ledger } from "./ledger.ts";
import { WatchedStore } from "./watched-store.ts";
import { SimClock, type World } from "./world.ts";

/** The longest a consumer's question stays open without an answer. */
const POLL_MS = 2000;

/** A fault that this server, or a driver of it, is given on purpose: to see that the simulation finds it. */
export type Mutation =
  /** A worker's loss of its lease is forgotten as soon as it was told, whether the answer arrived or not. */
  | "lossToldOnce"
  /** An answer to a reserve that was lost is not given again. */
  | "lentOnce"
  /** A batch that is sent again is published again. */
  | "publishedAgain";

interface Batch {
  readonly number: number;
  readonly deliveries: readonly Delivery[];
}

/** What the server knows of one consumer. */
interface Session {
  epoch: number;
  next: number;
  /** Lent, and not confirmed. */
  open: Batch[];
  /** Times its lease was lost. A consumer hears of it until it says that it has: the first answer may be lost. */
  losses: number;
  poll: AbortController | undefined;
}

interface Settled {
  readonly answers: readonly SettleAnswer[];
  /** Of which a part completed its group. */
  readonly completed: readonly Settlement[];
}

export interface Question {
  readonly owner: string;
  readonly epoch: number;
  readonly queues: readonly string[];
  readonly want: number;
  /** The last batch that the consumer has heard of. */
  readonly heard: number;
}

export class Server {
  readonly clock: SimClock;
  readonly store = new WatchedStore();
  readonly backend: MemoryBackend;
  readonly #results = new MemoryResults();
  readonly #world: World;
  readonly #mutation: Mutation | undefined;
  readonly #ledger: Ledger;
  readonly #sessions = new Map<string, Session>();
  readonly #published = new Set<string>();
  readonly #settled = new Map<string, Settled>();

  constructor(world: World, ledger: Ledger, mutation?: Mutation) {
    this.#world = world;
    this.#mutation = mutation;
    this.store.now = () => world.now;
    this.#ledger = ledger;
    this.clock = new SimClock(world, undefined, {
      wallMs: world.chance.between(-5000, 5000),
      rate: 1,
      start: world.chance.between(1, 1e9),
    });
    this.backend = new MemoryBackend({ kind: "memory", name: "sim" }, this.#results, this.clock);
  }

  /** Groups that are due, and that nobody has ended. */
  get groupsLeft(): readonly string[] {
    return [...this.#results.groups.counted].flatMap(([groupId, { due }]) => (due === undefined ? [] : [groupId]));
  }

  /** One connection of a process. */
  connect(): MemoryBroker {
    return new MemoryBroker({ kind: "memory", name: "sim" }, this.store, { clock: this.clock });
  }

  async publish(at: Broker, number: string, messages: readonly Outgoing[]): Promise<void> {
    if (this.#published.has(number) && this.#mutation !== "publishedAgain") return;
    this.#published.add(number);
    await at.publish(messages);
  }

  async settle(at: Broker, number: string, settlements: readonly Settlement[], withResults: boolean): Promise<Settled> {
    const known = this.#settled.get(number);
    if (known) return known;
    const completed: Settlement[] = [];
    const messages = settlements.map(({ delivery }) => this.store.tracked(delivery.loan));
    const answering = at.settle(settlements, withResults ? { backend: this.backend, completed: (each) => void completed.push(each) } : {});
    const gone = this.store.takeGone();
    const answers = await answering;
    const settled = { answers, completed: [] };
    this.#settled.set(number, settled); // who asks again is not told who completed a group
    this.#ledger.settled(settlements, messages, answers, gone);
    return { answers, completed };
  }

  /** Answers when there is something, when it was long enough, or when the consumer has asked anew. */
  async reserve(at: Broker, { owner, epoch, queues, want, heard }: Question): Promise<Batch> {
    const session = this.#session(owner);
    if (epoch < session.epoch) throw new Error("this question was asked over an older connection");
    session.epoch = epoch;
    session.poll?.abort();
    session.open = session.open.filter(({ number }) => number > heard);
    const stillLent = session.open.flatMap(({ deliveries }) => deliveries).filter(({ loan }) => this.store.tracked(loan));
    session.open = [];
    if (stillLent.length > 0 && this.#mutation !== "lentOnce") return this.#lent(session, stillLent);
    const poll = (session.poll = new AbortController());
    const timer = this.clock.timer(POLL_MS, () => poll.abort());
    const credit = { free: () => want, whenFree: async () => {} };
    let lent: readonly Delivery[] = [];
    for await (const batch of at.consume(queues, { worker: owner, credit, signal: poll.signal })) {
      lent = batch;
      break;
    }
    timer.cancel();
    if (session.poll === poll) session.poll = undefined;
    return this.#lent(session, lent);
  }

  /** The consumer will not ask again: nothing is lent to it any more, and what it has not heard of goes back. */
  async endConsuming(at: Broker, owner: string, epoch: number, heard: number): Promise<void> {
    const session = this.#session(owner);
    if (epoch < session.epoch) return; // it was long on its way, and the worker consumes again
    session.epoch = epoch + 1; // over one connection nothing that was asked before comes after this
    session.poll?.abort();
    const unheard = session.open.filter(({ number }) => number > heard).flatMap(({ deliveries }) => deliveries);
    session.open = [];
    await at.settle(unheard.map((delivery) => ({ delivery, end: { kind: "putBack" } })));
  }

  async stillLent(deliveries: readonly Delivery[]): Promise<readonly Delivery[]> {
    return deliveries.filter(({ loan }) => this.store.tracked(loan));
  }

  async renew(at: Broker, owner: string, durationMs: number, lossesHeard: number): Promise<{ losses: number; held: boolean; now: number }> {
    const { held } = await (at.leases as NonNullable<Broker["leases"]>).renew(owner, durationMs);
    const session = this.#session(owner);
    if (!held) session.losses += 1;
    if (this.#mutation === "lossToldOnce") return { held, losses: lossesHeard, now: this.clock.now() };
    return { held: session.losses === lossesHeard, losses: session.losses, now: this.clock.now() };
  }

  /** What a consumer still has on its way when it gives up its lease is lent nothing. */
  async release(at: Broker, owner: string): Promise<number> {
    const session = this.#session(owner);
    session.epoch = Number.POSITIVE_INFINITY;
    session.poll?.abort();
    return await (at.leases as NonNullable<Broker["leases"]>).release(owner);
  }

  async sweep(at: Broker, options: SweepOptions): Promise<SweepReport> {
    const report = await (at.leases as NonNullable<Broker["leases"]>).sweep(options);
    for (const owner of report.workers) this.#ledger.leaseLost(owner);
    return report;
  }

  #lent(session: Session, deliveries: readonly Delivery[]): Batch {
    const batch = { number: session.next++, deliveries };
    if (deliveries.length > 0) {
      session.open.push(batch);
      this.#world.note(`lends ${deliveries.map(({ loan }) => `${this.store.tracked(loan)?.taskId}#${loan}`).join(" ")}`);
    }
    return batch;
  }

  #session(owner: string): Session {
    let session = this.#sessions.get(owner);
    if (session === undefined) this.#sessions.set(owner, (session = { epoch: 0, next: 1, open: [], losses: 0, poll: undefined }));
    return session;
  }
}
