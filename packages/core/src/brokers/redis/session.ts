/**
 * One worker's loans through one process: their numbers, which are outstanding, and whether they are still its own.
 *
 * A connection is attached to the session before anything is lent through it: attaching puts a new epoch into the worker's loans,
 * so that what an older connection still sends lends nothing. It also tells what is there. When the last epoch was still in force,
 * loans that are not known here are those whose answer was lost: they are adopted, as if just lent. When it was not, the lease was
 * lost meanwhile (or this is a new process under an old name): what was outstanding is another's, and what is still there goes back
 * to its queue with a loss counted.
 */
import { EnvelopeReader } from "../../protocol/envelope-reader.ts";
import { newId } from "../../shared/ids.ts";
import { Roster } from "../../shared/roster.ts";
import { asList, asText, asTexts } from "../../stores/redis/answers.ts";
import type { Answer, RedisConnection } from "../../stores/redis/connection.ts";
import { inboxesKey, gravesKey, loansKey, sweptKey, workersKey } from "../../stores/redis/keys.ts";
import { abortable } from "../../stores/redis/link.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import { type RedisContext, SWEPT_MARK_MS, turn } from "./context.ts";
import { type Claim, Claims, reserveScript } from "./claims.ts";
import { type QueueList, RedisDelivery, splitLoan } from "./delivery.ts";
import type { ListOrder } from "./lists.ts";
import { returnLoans } from "./take-back.ts";
import type { Arrival, InboxOf } from "./waiter.ts";

const attachScript = loadScript("attach");

export const NOT_IN_FORCE = -1;
const EPOCH_FIELD = "@epoch";
/** Entries read at once when loans are adopted. */
const ADOPT_PORTION = 32;

/** The attachment since which nobody has taken the session's loans away. */
const beginningOf = (epoch: string): string => epoch.slice(0, Math.max(0, epoch.indexOf("|")));

export interface ReserveRequest {
  /** At most 512. */
  readonly want: number;
  readonly order: ListOrder;
  /** What waits there comes first; with `want` 0 it goes back to its lists. */
  readonly inboxes: readonly InboxOf[];
  readonly maxBytes: number;
  /** A message in the first of the inboxes, for which `begin` is called as soon as what settles it comes after this in any case. */
  readonly claim?: Claim | undefined;
  readonly begin?: () => void;
}

export interface Reserved {
  /** Without the claimed one. */
  readonly deliveries: readonly RedisDelivery[];
  /** With the claimed one. */
  readonly count: number;
  /** Lists of whose inboxes nobody can tell what is in them: more than was claimed was taken from them, or put back. */
  readonly emptied: ReadonlySet<string>;
  /** True when the batch ended because of its bytes: there is more. */
  readonly full: boolean;
}

/** A consumer, as what gives it messages that are lent already. */
export interface Hand {
  readonly lists: ReadonlySet<string>;
  /** How many more it can give to the worker now. */
  room(): number;
  take(deliveries: readonly RedisDelivery[]): void;
}

export class WorkerSession {
  readonly worker: string;
  readonly loansKey: string;
  readonly #context: RedisContext;
  readonly #outstanding = new Roster<RedisDelivery>();
  /** Loans of this process begin with it, so that a later process of the same name never names one anew. */
  readonly #prefix: string;
  readonly #sources = new Map<string, QueueList>();
  readonly #claims = new Claims();
  readonly #hands = new Set<Hand>();
  readonly #reader = new EnvelopeReader();
  #adopted: RedisDelivery[] = [];
  #next = 1;
  #epoch = "";
  #epochs = 0;
  /** Of the last loss of the lease, as it was when a connection was last attached: a later loss has another. */
  #mark = "";
  #attached: RedisConnection | undefined;
  #attaching: Promise<RedisConnection> | undefined;
  #usualBytes = 0;
  #isFair = false;

  constructor(context: RedisContext, worker: string) {
    this.#context = context;
    this.worker = worker;
    this.loansKey = loansKey(context.shard, worker);
    this.#prefix = `${newId().slice(0, 13)}.`;
  }

  get epoch(): string {
    return this.#epoch;
  }

  isOutstanding(delivery: RedisDelivery): boolean {
    return this.#outstanding.has(delivery);
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** What the loans of this process begin with. */
  get prefix(): string {
    return this.#prefix;
  }

  /** The first of so many numbers for loans that the caller makes. */
  number(count: number): number {
    const first = this.#next;
    this.#next += count;
    return first;
  }

  /** A script has found the epoch of this connection not in force: the next one is attached anew. */
  detached(connection: RedisConnection): void {
    if (this.#attached === connection) this.#attached = undefined;
  }

  /** Some loans are not confirmed yet: what settles them must ask whether they are there. */
  get hasClaims(): boolean {
    return this.#claims.areAny;
  }

  /** Its loan is not confirmed yet. */
  isClaimed(delivery: RedisDelivery): boolean {
    return this.#claims.has(delivery);
  }

  /** The loan has ended, or is another's. */
  forget(delivery: RedisDelivery): void {
    this.#outstanding.delete(delivery);
  }

  /** Some of its deliveries may come from fair queues. */
  get isFair(): boolean {
    return this.#isFair;
  }

  /** The lists that deliveries may come from; a worker may take on more later. */
  know(lists: readonly QueueList[]): void {
    let isNew = false;
    for (const each of lists) {
      isNew ||= !this.#sources.has(each.list);
      this.#sources.set(each.list, each);
      this.#isFair ||= each.fair !== undefined;
    }
    if (isNew) this.#attached = undefined; // the lists of the inboxes are registered by attaching
  }

  /** While it consumes, what is lent from its lists outside of a reserve goes there. Returns the end of that. */
  offerHand(hand: Hand): () => void {
    this.#hands.add(hand);
    return () => this.#hands.delete(hand);
  }

  /** Who takes what is lent from all of these lists; undefined when nobody does, or when loans are counted by more than their number. */
  handFor(lists: readonly string[]): Hand | undefined {
    if (this.#isFair) return undefined;
    for (const hand of this.#hands) if (lists.every((list) => hand.lists.has(list))) return hand;
    return undefined;
  }

  isAttachedTo(connection: RedisConnection): boolean {
    return this.#attached === connection;
  }

  /** A script has made a loan of it. */
  lent(number: number, list: string, raw: Buffer): RedisDelivery {
    return this.own(number, this.#sourceOf(list), raw);
  }

  /** The caller has made a loan of it. */
  own(number: number, source: QueueList, raw: Buffer, loan = `${this.#prefix}${number}\n${source.list}`): RedisDelivery {
    const delivery = new RedisDelivery({ loan, number, source, raw, reader: this.#reader });
    this.#outstanding.add(delivery);
    return delivery;
  }

  /** Takes in what came through a channel. Its end is told like that of a loan. */
  receive(source: QueueList, raw: Buffer): RedisDelivery {
    const number = this.#next++;
    const delivery = new RedisDelivery({ loan: `${this.#prefix}${number}`, number, source, raw, reader: this.#reader, isFanout: true });
    this.#outstanding.add(delivery);
    return delivery;
  }

  /** What was lent from these lists without our knowing, since the last call: consumers of one worker have lists of their own. */
  takeAdopted(lists: ReadonlySet<string>): readonly RedisDelivery[] {
    if (this.#adopted.length === 0) return this.#adopted;
    const adopted = this.#adopted.filter(({ list }) => lists.has(list));
    this.#adopted = this.#adopted.filter(({ list }) => !lists.has(list));
    return adopted;
  }

  /** The open connection that this session is attached to, while there is one. */
  get current(): RedisConnection | undefined {
    return this.#attached?.isOpen ? this.#attached : undefined;
  }

  /** Waits for one. */
  async connection(signal?: AbortSignal): Promise<RedisConnection> {
    const { current } = this;
    if (current) return current;
    this.#attaching ??= this.#attach().finally(() => (this.#attaching = undefined));
    return await abortable(this.#attaching, signal);
  }

  /** Takes what has arrived before its loan is confirmed. The caller must reserve so many with it at once. Undefined when there is no connection to do so. */
  claim({ from, raw }: Arrival, want: number): Claim | undefined {
    const connection = this.#attached;
    if (!connection?.isOpen) return undefined;
    const number = this.#next;
    this.#next += want;
    const claim = { delivery: this.own(number, from.source, raw), from, connection };
    this.#claims.add(claim);
    return claim;
  }

  /** Lends up to `want` messages. */
  async reserve({ want, order, inboxes, maxBytes, claim, begin }: ReserveRequest, signal?: AbortSignal): Promise<Reserved> {
    const sources: (QueueList | undefined)[] = [undefined];
    const keys = [this.loansKey];
    for (const { inbox, source } of inboxes) {
      keys.push(inbox, source.list);
      sources.push(undefined, source);
    }
    for (const source of order.lists) {
      keys.push(source.list);
      sources.push(source);
    }
    let hasBegun = false;
    for (;;) {
      const connection = this.current ?? (await this.connection(signal));
      const isClaim = claim !== undefined && claim.connection === connection && this.#claims.isOpen(claim);
      const first = isClaim ? claim.delivery.number : this.#next;
      if (!isClaim) this.#next += want;
      const args = [this.#epoch, this.#prefix, first, want, maxBytes, this.#usualBytes, inboxes.length, ...order.groups];
      const answering = connection.script(reserveScript, keys, args);
      if (claim && !hasBegun && this.#outstanding.has(claim.delivery)) begin?.();
      hasBegun = true;
      const answer = await answering.catch((error: unknown) => {
        if (isClaim) this.detached(connection); // attaching makes up for it before anything else finds the message in the inbox
        throw error;
      });
      if (answer === NOT_IN_FORCE) {
        this.detached(connection);
        continue;
      }
      return this.#lent(answer, sources, first, isClaim ? claim : undefined, 1 + 2 * inboxes.length);
    }
  }

  /**
   * Looks for loans that are ours and that we do not know. There should be none: an answer that is lost breaks the connection.
   * Cheap, and so done every few seconds while there is traffic.
   */
  async reconcile(signal?: AbortSignal): Promise<void> {
    const connection = await this.connection(signal);
    const fields = asTexts(await connection.command("HKEYS", [this.loansKey]));
    await turn(); // what was answered before this command has been taken in by then
    await this.#adopt(connection, fields);
  }

  #lent(answer: Answer, sources: readonly (QueueList | undefined)[], first: number, claim: Claim | undefined, lastInbox: number): Reserved {
    const parts = asList(answer);
    const counts = asList(parts[1]);
    const deliveries: RedisDelivery[] = [];
    const emptied = new Set<string>();
    const isConfirmed = claim !== undefined && this.#claims.confirm(claim, parts[2]);
    if (claim && !isConfirmed) this.#disown(claim.delivery);
    let at = 2;
    let bytes = 0;
    for (let i = 0; i + 1 < counts.length; i += 2) {
      const source = sources[(counts[i] as number) - 1] as QueueList; // the script answers with indexes of the keys it was given
      const end = at + (counts[i + 1] as number);
      if ((counts[i] as number) <= lastInbox && end > at + (at === 2 && isConfirmed ? 1 : 0)) emptied.add(source.list);
      for (; at < end; at += 1) {
        const number = first + at - 2;
        const raw = parts[at] as Buffer;
        if (at === 2 && isConfirmed) continue;
        deliveries.push(this.own(number, source, raw));
        bytes += raw.length;
      }
    }
    if (deliveries.length > 0) {
      const mean = bytes / deliveries.length;
      this.#usualBytes = Math.ceil(this.#usualBytes === 0 ? mean : this.#usualBytes * 0.75 + mean * 0.25);
    }
    return { deliveries, count: parts.length - 2, emptied, full: parts[0] === 1 };
  }

  #sourceOf(list: string): QueueList {
    return this.#sources.get(list) ?? { queue: list.slice(this.#context.shard.prefix.length), list };
  }

  /** Somebody has emptied an inbox of ours by hand. */
  #disown(delivery: RedisDelivery): void {
    this.#outstanding.delete(delivery);
    this.#context.logger.error({ worker: this.worker, queue: delivery.queue }, "a message vanished from an inbox of this worker");
  }

  async #attach(): Promise<RedisConnection> {
    const { shard, commands, leaseMs, logger } = this.#context;
    const connection = await commands.connection();
    const keys = [this.loansKey, workersKey(shard), sweptKey(shard, this.worker), gravesKey(shard), inboxesKey(shard, this.worker)];
    const last = beginningOf(this.#epoch);
    const args = [this.worker, this.#prefix, ++this.#epochs, last, leaseMs, SWEPT_MARK_MS, this.#mark, ...this.#sources.keys()];
    const [told, mark, ...fields] = asList(await connection.script(attachScript, keys, args));
    const epoch = asText(told);
    this.#epoch = epoch;
    this.#mark = asText(mark);
    const names = asTexts(fields).filter((field) => field !== EPOCH_FIELD);
    if (last === beginningOf(epoch)) {
      await turn();
      await this.#claims.makeUp(connection, this.loansKey, epoch, this.#prefix, names);
      await this.#adopt(connection, names);
    } else {
      this.#claims.clear();
      if (this.#outstanding.size > 0)
        logger.warn(
          { worker: this.worker, loans: this.#outstanding.size },
          "the loans of this worker were taken away: its lease had run out",
        );
      for (const delivery of this.#outstanding) if (!delivery.isFanout) this.#outstanding.delete(delivery);
      if (names.length > 0) await returnLoans(this.#context, connection, this.worker, names, { why: "own", epoch });
    }
    this.#attached = connection;
    return connection;
  }

  async #adopt(connection: RedisConnection, fields: readonly string[]): Promise<void> {
    const known = this.#loans();
    const unknown = fields.filter((field) => field !== EPOCH_FIELD && !known.has(field));
    let found = 0;
    for (let from = 0; from < unknown.length; from += ADOPT_PORTION) {
      const portion = unknown.slice(from, from + ADOPT_PORTION);
      const entries = asList(await connection.command("HMGET", [this.loansKey, ...portion]));
      const knownNow = this.#loans();
      portion.forEach((loan, i) => {
        const raw = entries[i];
        if (!Buffer.isBuffer(raw) || knownNow.has(loan)) return; // settled meanwhile
        const { list, number } = splitLoan(loan);
        this.#adopted.push(this.own(number, this.#sourceOf(list), raw, loan));
        found += 1;
      });
    }
    if (found > 0) this.#context.logger.warn({ worker: this.worker, loans: found }, "found loans whose reply was lost");
  }

  #loans(): ReadonlySet<string> {
    return new Set(Array.from(this.#outstanding, ({ loan }) => loan));
  }
}
