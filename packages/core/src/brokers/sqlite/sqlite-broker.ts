/**
 * The embedded broker: one SQLite file that the processes of one machine share. The rows and their moves are in
 * `message-rows.ts` and `lease-rows.ts`; here each call becomes one transaction, and errors become a broker's.
 */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import type { GroupPart } from "../../results/groups.ts";
import type { DueCallback } from "../../results/batches.ts";
import type { ResultBackend, ResultWrite } from "../../results/result-backend.ts";
import { newId } from "../../shared/ids.ts";
import type { Logger } from "../../shared/log.ts";
import { SqliteBusyError } from "../../stores/sqlite/errors.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { SqliteDeps, SqliteLease } from "../../stores/sqlite/open.ts";
import { endGroup, registerPart } from "../../stores/sqlite/group-rows.ts";
import { storeResults } from "../../stores/sqlite/result-rows.ts";
import type { SqliteSpec } from "../../stores/sqlite/spec.ts";
import type { Aggregates } from "../aggregates.ts";
import type {
  Broadcast, Broker, Checkpoints, ConsumeOptions, DeadLetterCaps, DeadLetters, DelayedQueue, Delivery, DueCallbacks, GroupEnd, GroupEndAnswer, GroupEnds,
  Leases, Outgoing, PublishDueOptions, PublishFate, PublishOptions, QueueDepth, QueueSpec, Revocations, SettleAnswer, SettleOptions, Settlement,
} from "../broker.ts"; // prettier-ignore
import { deadLetterCaps } from "../dead-letter-filter.ts";
import { redelivered, replaced, type Envelope } from "../envelope-edits.ts";
import { BrokerRefusedError, PublishError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { Fairness } from "../fairness.ts";
import { priorityStep } from "../priority.ts";
import type { MessageSearch } from "../search.ts";
import { purgeWithLocks } from "../uniques.ts";
import { revocationCaps } from "../revocation-caps.ts";
import { SqliteAggregates } from "./aggregates.ts";
import { SqliteCheckpoints } from "./checkpoints.ts";
import { SqliteConsumer } from "./consumer.ts";
import { SqliteDeadLetters } from "./dead-letters.ts";
import { parseLoan, SqliteDelivery } from "./delivery.ts";
import { SqliteFairness } from "./fairness.ts";
import { Fanout } from "./fanout.ts";
import { SqliteLeases } from "./leases.ts";
import { sqliteLimits } from "./limits.ts";
import { MessageRows, type MessageRow, type Posted } from "./message-rows.ts";
import { Parking } from "./parking.ts";
import { SqlitePauses } from "./pauses.ts";
import { SqliteRevocations } from "./revocations.ts";
import { SqliteSearch } from "./search.ts";
import { SqliteUniques } from "./uniques.ts";

/** A settlement with everything encoded, so that the transaction is short. */
interface Prepared extends Settlement {
  /** As it was given. */
  readonly settlement: Settlement;
  readonly posted: readonly Posted[];
  /** What a requeue or a park writes in place of the envelope. */
  readonly envelope: Envelope | undefined;
}

const PURGE_SLICE = 1000;
/** Reserves are numbered from a random start, so that two processes under one name do not share numbers. */
const TAKE_RANGE = 2 ** 40;

export class SqliteBroker implements Broker {
  readonly kind = "sqlite";
  readonly location: string;
  readonly leases: Leases;
  readonly delayed: DelayedQueue;
  readonly broadcast: Broadcast;
  readonly deadLetters: DeadLetters;
  readonly dueCallbacks: DueCallbacks;
  readonly search: MessageSearch;
  readonly revocations: Revocations;
  readonly limits: Limits;
  readonly groupEnds: GroupEnds;
  readonly pauses: SqlitePauses;
  readonly checkpoints: Checkpoints;
  readonly aggregates: Aggregates;
  readonly fairness: Fairness;
  readonly uniques: SqliteUniques;
  readonly #caps: DeadLetterCaps;
  readonly #spec: SqliteSpec;
  readonly #lease: SqliteLease;
  readonly #file: SqliteFile;
  readonly #logger: Logger;
  readonly #messages: MessageRows;
  readonly #closed = new AbortController();
  readonly #consumer = newId();
  #take: number;

  constructor(spec: SqliteSpec, lease: SqliteLease, deps: SqliteDeps) {
    this.location = `sqlite://${lease.file.path}`;
    this.#spec = spec;
    this.#lease = lease;
    this.#file = lease.file;
    this.#logger = deps.logger;
    this.#messages = new MessageRows(lease.file);
    this.#take = Math.floor(deps.random() * TAKE_RANGE);
    const { timeoutMs } = spec;
    this.#caps = deadLetterCaps(spec);
    this.leases = new SqliteLeases({ file: lease.file, timeoutMs, deadLetterCaps: this.#caps });
    this.groupEnds = { finish: async (end, options) => await this.#end(end, options.signal) };
    const limits = sqliteLimits(lease.file, spec);
    this.limits = limits;
    this.delayed = new Parking(lease.file, spec, limits);
    this.broadcast = new Fanout(lease.file, timeoutMs, this.#closed.signal);
    this.fairness = new SqliteFairness(lease.file, spec, deps.logger);
    this.pauses = new SqlitePauses(this.location, lease.file, spec);
    this.revocations = new SqliteRevocations(lease.file, spec, revocationCaps(spec));
    this.deadLetters = new SqliteDeadLetters(lease.file, spec, this.#caps);
    this.search = new SqliteSearch(lease.file, spec);
    this.dueCallbacks = { publish: async (due, messages, options) => await this.#publishDue(due, messages, options) };
    this.checkpoints = new SqliteCheckpoints(lease.file, spec);
    this.aggregates = new SqliteAggregates(lease.file, spec);
    this.uniques = new SqliteUniques(this.location, lease.file, spec);
  }

  async publish(messages: readonly Outgoing[], { signal }: PublishOptions = {}): Promise<void> {
    if (messages.length === 0) return;
    const posted = messages.map(encoded);
    let reached: readonly boolean[];
    try {
      reached = await this.#file.write(() => this.#messages.post(posted), { signal, timeoutMs: this.#spec.timeoutMs });
    } catch (error) {
      // One transaction: nothing of it was done. Only a disk that fails at the commit itself leaves that open.
      const fate: PublishFate = isDiskError(error) ? "unknown" : "refused";
      throw new PublishError(this.location, messages.map(() => fate), error); // prettier-ignore
    }
    this.#file.bell.ring("ready");
    const lost = reached.indexOf(false);
    if (lost === -1) return;
    const fates = reached.map((held): PublishFate => (held ? "held" : "refused"));
    throw new PublishError(this.location, fates, new BrokerRefusedError(this.location, unroutable(messages[lost] as Outgoing)));
  }

  consume(queues: readonly string[], options: ConsumeOptions): AsyncIterable<readonly Delivery[]> {
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    const { timeoutMs } = this.#spec;
    const own = { file: this.#file, consumer: this.#consumer, nextTake: () => this.#take++, timeoutMs, deadLetterCaps: this.#caps };
    return new SqliteConsumer({ ...options, ...own, signal, queues }).batches();
  }

  async settle(settlements: readonly Settlement[], options: SettleOptions = {}): Promise<readonly SettleAnswer[]> {
    if (settlements.length === 0) return [];
    const prepared = settlements.map(prepare);
    const completed: Settlement[] = [];
    const answers = await this.#file.write(() => this.#settleAll(prepared, completed), {
      signal: options.signal,
      timeoutMs: Infinity,
    });
    if (settlements.some(({ delivery, end, publish, unique }) => RETURNS.has(end.kind) || publish?.length || unique || isFair(delivery)))
      this.#file.bell.ring("ready");
    if (settlements.some(({ results, parts }) => results?.length || parts?.length)) this.#file.bell.ring("results");
    for (const each of completed) options.completed?.(each);
    return answers;
  }

  async #end(end: GroupEnd, signal: AbortSignal | undefined): Promise<GroupEndAnswer> {
    const posted = end.publish.map(encoded);
    const answer = await this.#file.write(() => this.#finish(end, posted), { signal, timeoutMs: Infinity });
    if (end.publish.length > 0) this.#file.bell.ring("ready");
    if (end.results.length > 0 || end.parts.length > 0) this.#file.bell.ring("results");
    return answer;
  }

  async #publishDue({ id, event }: DueCallback, messages: readonly Outgoing[], { home, signal }: PublishDueOptions): Promise<boolean> {
    const posted = messages.map(encoded);
    const work = (): boolean => {
      if (this.#file.sql("batch.done").run(id, event).changes === 0) return false;
      this.#postFollowUps(posted, home);
      return true;
    };
    const isPublished = await this.#file.write(work, { signal, timeoutMs: Infinity });
    if (isPublished) this.#file.bell.ring("ready");
    return isPublished;
  }

  async bind(queues: readonly QueueSpec[]): Promise<void> {
    await this.#file.write(() => {
      for (const { name, exchange, exchangeType, routingKey } of queues) {
        this.#messages.number(name);
        if (exchange !== "") this.#file.sql("publish.bind").run(exchange, name, exchangeType, routingKey);
      }
    }, this.#spec);
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    return this.#file.read(() => queues.map((queue) => this.#depth(queue)), this.#spec);
  }

  async purge(queue: string): Promise<number> {
    return await purgeWithLocks(this.uniques, this.search, queue, async () => await this.#purge(queue));
  }

  async #purge(queue: string): Promise<number> {
    let purged = 0;
    for (const statement of PURGES) {
      let count: number;
      do {
        count = await this.#file.write(() => {
          const number = this.#messages.known(queue);
          const rows = number === undefined ? [] : (this.#file.sql(statement).all(number, PURGE_SLICE) as MessageRow[]);
          for (const { message } of rows) this.#messages.drop(message);
          if (number !== undefined && statement === "queue.purgeWaiting") this.#file.sql("queue.purgeTurns").run(number);
          if (number !== undefined && statement === "queue.purgeFolded") this.#file.sql("queue.purgeGroups").run(number);
          return rows.length;
        }, this.#spec);
        purged += count;
        await new Promise(setImmediate); // others have their turn between the slices
      } while (count === PURGE_SLICE);
    }
    return purged;
  }

  settlesWith(backend: ResultBackend): boolean {
    return backend.sharedStore === this.#file;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new BrokerRefusedError(this.location, "it was closed"));
    await this.#lease[Symbol.asyncDispose]();
  }

  /** In a transaction. What goes back to the front goes together, so that it keeps its order. */
  #settleAll(settlements: readonly Prepared[], completed: Settlement[]): readonly SettleAnswer[] {
    completed.length = 0; // it may be done again
    const toFront: MessageRow[] = [];
    const results: ResultWrite[] = [];
    const answers = settlements.map((settlement) => this.#settleOne(settlement, toFront, results));
    this.#messages.returned(toFront);
    const now = this.#file.clock.now();
    storeResults(this.#file, results, now);
    for (const [i, { parts, settlement }] of settlements.entries())
      if (parts !== undefined && answers[i] === "settled" && this.#register(parts, now).length > 0) completed.push(settlement);
    return answers;
  }

  /** The groups that they completed. */
  #register(parts: readonly GroupPart[], now: number): readonly string[] {
    return parts.filter((part) => registerPart(this.#file, part, now)).map(({ groupId }) => groupId);
  }

  /** In a transaction. */
  #finish({ groupId, home, results, parts }: GroupEnd, posted: readonly Posted[]): GroupEndAnswer {
    if (!endGroup(this.#file, groupId)) return { kind: "gone" };
    const now = this.#file.clock.now();
    storeResults(this.#file, results, now);
    const completed = this.#register(parts, now);
    if (posted.length > 0) this.#postFollowUps(posted, home);
    return { kind: "ended", completed };
  }

  /** The end of the loan is the fence: when there was none, nothing else is done. */
  #settleOne({ delivery, end, results, posted, envelope, unique }: Prepared, toFront: MessageRow[], toStore: ResultWrite[]): SettleAnswer {
    const { holder, take, message } = parseLoan(delivery.loan);
    if (end.kind === "ack") {
      if (this.#file.sql("settle.end").run(holder, take, message).changes === 0) return "lost";
      this.#messages.drop(message);
    } else {
      const known = this.#file.sql("settle.endKnown").get(holder, take, message) as MessageRow | undefined;
      if (known === undefined) return "lost";
      const row = end.kind === "requeue" && end.isLoss ? { ...known, losses: known.losses + 1 } : known;
      if (envelope !== undefined) this.#messages.rewrite(message, envelope);
      if (end.kind === "park") this.#messages.park(end.dueAt, row);
      else if (end.kind === "deadLetter") this.#messages.bury(row, end.record, this.#caps);
      else if (end.kind === "requeue" && end.to === "back") this.#messages.toBack(row);
      else toFront.push(row);
    }
    if (results !== undefined) toStore.push(...results);
    if (posted.length > 0) this.#postFollowUps(posted, delivery.queue);
    if (unique !== undefined) this.uniques.stepNow(unique);
    return "settled";
  }

  /** What follows from a task must not get lost because a binding is gone: it goes to the queue that the task came from. */
  #postFollowUps(posted: readonly Posted[], home: string): void {
    const reached = this.#messages.post(posted);
    const stray = posted.filter((_, at) => !reached[at]);
    if (stray.length === 0) return;
    this.#messages.post(stray.map((one) => ({ ...one, exchange: "", routingKey: home })));
    for (const { exchange, routingKey } of stray) {
      this.#logger.warn(
        { exchange, routingKey, queue: home },
        "no queue is bound for this message: it goes to the queue of the task that it follows from",
      );
    }
  }

  #depth(queue: string): QueueDepth {
    const number = this.#messages.known(queue);
    if (number === undefined) return { queue, ready: 0, parked: 0, onLoan: 0, dead: 0 };
    return { queue, ...(this.#file.sql("queue.depth").get(number) as Omit<QueueDepth, "queue">) };
  }
}

/** All places of a queue whose messages wait. */
const PURGES = ["queue.purgeReady", "queue.purgeKeyed", "queue.purgeParked", "queue.purgeWaiting", "queue.purgeFolded"] as const;

/** The ends of a loan after which its message may be ready at once. */
const RETURNS: ReadonlySet<string> = new Set(["requeue", "putBack"]);

/** Its end may be what another message of its key waits for. */
const isFair = (delivery: Delivery): boolean => delivery instanceof SqliteDelivery && delivery.isFair;

function encoded({ message, exchange, routingKey }: Outgoing): Posted {
  const text = encodeEnvelope(message, { exchange, routingKey }, newId());
  return { text, exchange, routingKey, step: priorityStep(message.properties.priority) };
}

function prepare(settlement: Settlement): Prepared {
  const { delivery, end, publish = [] } = settlement;
  let envelope: Envelope | undefined;
  if (end.kind === "requeue") envelope = redelivered(end.message === undefined ? delivery.raw : replaced(delivery.raw, end.message));
  else if (end.kind === "park" && end.message !== undefined) envelope = replaced(delivery.raw, end.message);
  return { ...settlement, settlement, posted: publish.map(encoded), envelope };
}

function unroutable({ exchange, routingKey }: Outgoing): string {
  return `no queue is bound to the exchange ${JSON.stringify(exchange)} for the routing key ${JSON.stringify(routingKey)}`;
}

function isDiskError(error: unknown): boolean {
  return error instanceof SqliteBusyError && error.problem === "io";
}
