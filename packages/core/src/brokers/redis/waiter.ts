/**
 * Waits for messages without polling: a blocking BLMOVE from each list to the worker's inbox for that list, each on a
 * connection of its own. Redis wakes exactly one waiting worker for a message, the one that has waited longest, and the
 * message is the worker's from that moment: the inbox is swept with its loans.
 *
 * States of each list: idle -> waiting -> (a message, or the time is up) idle. While paused, nothing waits and what waits is
 * unblocked; so it is with the lists of queues that an operator has paused. What arrives all the same is taken by the next `reserve`, which names the inboxes.
 */
import { sleep } from "../../shared/clock.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import { inboxKey } from "../../stores/redis/keys.ts";
import type { RedisLink } from "../../stores/redis/link.ts";
import type { RedisContext } from "./context.ts";
import type { PausedQueues } from "../queue-pauses.ts";
import type { QueueList } from "./delivery.ts";

/** One connection for each list, so not more than these. */
export const WAITING_LISTS_MAX = 8;
/** Long, because each end of it is a command of an idle worker. A dead worker's read can fill its inbox for so long. */
export const BLOCK_MS = 30_000;
/** A read that was sent so long ago is in force in Redis. */
const SETTLED_IN_MS = 1000;

const REFUSED_PAUSE_MS = 1000;

export interface InboxOf {
  readonly inbox: string;
  readonly source: QueueList;
}

/** What a blocking read has put into an inbox, when it is certain that it is still there. */
export interface Arrival {
  readonly from: InboxOf;
  readonly raw: Buffer;
}

interface Read {
  readonly source: QueueList;
  readonly inbox: string;
  readonly link: RedisLink;
  underWay: Promise<void> | undefined;
  sentAt: number;
  /** A reserve has taken something from the inbox since the read was sent: what the read will tell of. */
  isTaken: boolean;
}

export class Waiter {
  readonly inboxes: readonly InboxOf[];
  readonly #context: RedisContext;
  readonly #reads: readonly Read[];
  readonly #onWake: (arrival?: Arrival) => void;
  readonly #paused: PausedQueues | undefined;
  #isWaiting = false;
  #isClosed = false;

  constructor(
    context: RedisContext,
    worker: string,
    lists: readonly QueueList[],
    paused: PausedQueues | undefined,
    onWake: (arrival?: Arrival) => void,
  ) {
    this.#context = context;
    this.#paused = paused;
    this.#onWake = onWake;
    this.#reads = lists.slice(0, WAITING_LISTS_MAX).map((source): Read => {
      const inbox = inboxKey(context.shard, worker, source.list);
      return { source, inbox, link: context.newLink(`wait for ${source.queue}`), underWay: undefined, sentAt: 0, isTaken: false };
    });
    this.inboxes = this.#reads.map(({ inbox, source }) => ({ inbox, source }));
  }

  /** Makes sure that every list is waited for whose queue is not paused. */
  wait(): void {
    if (this.#isClosed) return;
    this.#isWaiting = true;
    for (const read of this.#reads) {
      if (this.#mayRead(read)) read.underWay ??= this.#keepReading(read).finally(() => (read.underWay = undefined));
    }
  }

  /** Ends the waiting, so that nothing is taken that we have no slot for. Over the connection of the worker's other commands. */
  pause(connection: RedisConnection | undefined): void {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    for (const read of this.#reads) unblock(read, connection);
  }

  /** Ends the waiting for queues that are paused. */
  leavePaused(connection: RedisConnection | undefined): void {
    for (const read of this.#reads) if (!this.#mayRead(read)) unblock(read, connection);
  }

  /** The worker's connection broke: those here are no better, and a broken one that seems open would cost a whole wait. */
  reset(): void {
    for (const { link } of this.#reads) link.current?.destroy();
  }

  /** A reserve has found messages in the inboxes of these lists. */
  taken(lists: ReadonlySet<string>): void {
    for (const read of this.#reads) read.isTaken ||= lists.has(read.source.list);
  }

  /** Messages were found where a read should have taken them: those whose read was in force are broken. */
  suspect(lists: ReadonlySet<string>): void {
    const before = this.#context.clock.monotonic() - SETTLED_IN_MS;
    for (const { source, underWay, sentAt, link } of this.#reads) {
      if (underWay && sentAt !== 0 && sentAt < before && lists.has(source.list)) link.current?.destroy();
    }
  }

  /** Resolves when no read is under way any more. */
  async close(connection: RedisConnection | undefined): Promise<void> {
    this.#isClosed = true;
    this.pause(connection);
    const ends = Promise.all(this.#reads.map(async ({ underWay }) => await underWay));
    const patience = this.#context.clock.timer(SETTLED_IN_MS, () => this.#reads.forEach(({ link }) => link.close()));
    if (!connection) this.#reads.forEach(({ link }) => link.close());
    await ends;
    patience.cancel();
    for (const { link } of this.#reads) link.close();
  }

  #mayRead({ source }: Read): boolean {
    return this.#isWaiting && !(this.#paused?.isAny && this.#paused.has(source.queue));
  }

  async #keepReading(read: Read): Promise<void> {
    while (this.#mayRead(read)) {
      try {
        const connection = await read.link.connection();
        if (!this.#mayRead(read)) return;
        read.sentAt = this.#context.clock.monotonic();
        read.isTaken = false;
        const answer = await connection.blocking("BLMOVE", [read.source.list, read.inbox, "RIGHT", "LEFT", BLOCK_MS / 1000], BLOCK_MS);
        read.sentAt = 0;
        if (answer === null) continue;
        if (Buffer.isBuffer(answer) && !read.isTaken) return this.#onWake({ from: read, raw: answer });
      } catch (error) {
        read.sentAt = 0;
        if (this.#isClosed) return;
        // Redis may have filled the inbox before the read broke, or refuses the read: `reserve` finds out.
        this.#context.logger.debug({ err: error, list: read.source.list }, "a waiting read broke");
        if (!(error instanceof RedisGoneError) && !isWrongServer(error)) await sleep(this.#context.clock, REFUSED_PAUSE_MS);
      }
      return this.#onWake(); // waited for again when `reserve` has found nothing more
    }
  }
}

function unblock({ underWay, link }: Read, connection: RedisConnection | undefined): void {
  const clientId = link.current?.clientId ?? 0;
  if (underWay && clientId !== 0) connection?.command("CLIENT", ["UNBLOCK", clientId]).catch(() => undefined); // it ends by itself in time
}

/** Told to a read when its server is demoted. Its connection is closed by then. */
const isWrongServer = (error: unknown): boolean => error instanceof RedisAnswerError && error.isWrongServer;
