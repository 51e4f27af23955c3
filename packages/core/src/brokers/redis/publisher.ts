/**
 * Publishes batches, each executed at most once however often it is sent.
 *
 * A publisher numbers its batches. The script that pushes a batch writes its number into the publisher's hash in the same step;
 * after a dropped connection the next one first puts a new epoch there, so that nothing still on its way can be executed, and reads
 * which batches were. Large ones go by a transaction, which is cheaper and fenced otherwise (publish-transaction.ts). What Redis does not remember (it lost its data, or the hash's time ran out) is reported as unknown.
 */
import { newId } from "../../shared/ids.ts";
import { sleep } from "../../shared/clock.ts";
import { asPairs } from "../../stores/redis/answers.ts";
import type { Answer, RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import { publisherKey } from "../../stores/redis/keys.ts";
import { abortable, type RedisLink } from "../../stores/redis/link.ts";
import { replicated } from "../../stores/redis/replicas.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { PublishFate } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { fenceOff, isAList, pushInTransaction, type OpenedConnection, WORTH_A_TRANSACTION } from "./publish-transaction.ts";

const publishScript = loadScript("publish");
const openScript = loadScript("open-publisher");

/** Slots of the hash: so many batches can be unanswered. */
const UNDER_WAY = 8;
/** Longer than any publish waits, and renewed by each batch. */
const REMEMBERED_MS = 60_000;
const RETRY_PAUSE_MS = 100;
/** Answers of a server that is starting or was just demoted: worth another try before the deadline. */
const PASSING: ReadonlySet<string> = new Set(["LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN", "CLUSTERDOWN"]);

/** Texts for each list. Executed as a whole. */
export type Batch = ReadonlyMap<string, readonly string[]>;

export interface BatchFate {
  readonly fate: PublishFate;
  /** Why it is not held. */
  readonly cause: unknown;
}

export class Publisher {
  readonly #context: RedisContext;
  readonly #link: RedisLink;
  readonly #key: string;
  readonly #freeSlots = Array.from({ length: UNDER_WAY }, (_, slot) => slot);
  readonly #waiting: (() => void)[] = [];
  #sequence = 0;
  #epochs = 0;
  #epoch = "";
  /** The epoch that made the hash: while it is the same, Redis remembers all that it was told. */
  #born = "";
  #opened: OpenedConnection | undefined;
  /** Nothing of an older connection can be executed any more, and transactions are ours to use. */
  #isFenced = false;
  /** Slot -> batch, as of the last opening; undefined when the hash was made anew by it. */
  #executed: ReadonlyMap<string, string> | undefined;

  constructor(context: RedisContext) {
    this.#context = context;
    this.#key = publisherKey(context.shard, newId());
    this.#link = context.newLink("publish", { onOpen: async (connection) => await this.#open(connection) });
  }

  /** Never rejects. `signal` is the deadline: what was sent and not answered by then is unknown. */
  async publish(batch: Batch, signal: AbortSignal): Promise<BatchFate> {
    let slot = signal.aborted ? undefined : this.#freeSlots.shift();
    try {
      slot ??= await this.#slot(signal);
    } catch (cause) {
      return { fate: "refused", cause: this.#link.lastFailure ?? cause };
    }
    try {
      return await this.#send(batch, slot, String(++this.#sequence), signal);
    } finally {
      this.#freeSlots.push(slot);
      this.#waiting.shift()?.();
    }
  }

  async connection(signal: AbortSignal): Promise<RedisConnection> {
    return await this.#link.connection(signal);
  }

  /** Why there is no connection now. */
  get lastFailure(): unknown {
    return this.#link.current ? undefined : this.#link.lastFailure;
  }

  close(): void {
    this.#link.close();
  }

  async #send(batch: Batch, slot: number, sequence: string, signal: AbortSignal): Promise<BatchFate> {
    const { replicas } = this.#context;
    let sentIn: { readonly epoch: string; readonly born: string; readonly list: string | undefined } | undefined;
    let cause: unknown;
    /** Redis holds it; only its replicas are waited for. */
    let isHeld = false;
    for (;;) {
      try {
        signal.throwIfAborted(); // a pause may have ended with it: nothing is sent after its deadline
        let connection = this.#link.current ?? (await this.#link.connection(signal));
        if (this.#link.ramp) {
          await this.#link.ramp.pass(sizeOf(batch), signal);
          connection = await this.#link.connection(signal);
        }
        if (sentIn) {
          if (sentIn.born !== this.#born)
            return { fate: "unknown", cause: cause ?? new RedisGoneError("Redis does not remember", { sent: true }) };
          const { list } = sentIn;
          const isExecuted = isHeld || this.#executed?.get(String(slot)) === sequence;
          if (list !== undefined && !isHeld && (isExecuted ? !(await isAList(connection, list)) : !this.#isFenced))
            return { fate: "unknown", cause };
          if (isExecuted) {
            isHeld = true;
            if (replicas) await abortable(replicated(connection, replicas), signal);
            return { fate: "held", cause: undefined };
          }
        }
        const list = this.#isFenced ? wideList(batch) : undefined;
        sentIn = { epoch: this.#epoch, born: this.#born, list };
        const answer = await abortable(this.#push(connection, batch, list, slot, sequence), signal);
        if (answer === 1) {
          isHeld = true;
          if (replicas) await abortable(replicated(connection, replicas), signal);
          return { fate: "held", cause: undefined };
        }
        const wasIn = sentIn.epoch;
        sentIn = undefined; // it says that nothing was done
        if (wasIn === this.#epoch) await this.#open(connection); // the hash's time had run out
      } catch (error) {
        if (signal.aborted) return { fate: sentIn ? "unknown" : "refused", cause: this.lastFailure ?? cause ?? error };
        cause = error;
        if (error instanceof RedisGoneError) {
          if (!error.sent && !isHeld && sentIn?.epoch === this.#epoch) sentIn = undefined;
          isHeld = false; // by the server that is gone; the next connection tells
          continue;
        }
        if (!(error instanceof RedisAnswerError)) return { fate: sentIn ? "unknown" : "refused", cause: error };
        if (isHeld) continue; // and its replicas do not have it yet
        sentIn = undefined; // a script that answers with an error has written nothing
        if (!PASSING.has(error.word)) return { fate: "refused", cause: error };
        await sleep(this.#context.clock, RETRY_PAUSE_MS * (0.5 + this.#context.random()), signal).catch(() => undefined);
      }
    }
  }

  #push(connection: RedisConnection, batch: Batch, list: string | undefined, slot: number, sequence: string): Promise<Answer> {
    if (list !== undefined) {
      const texts = batch.get(list) ?? [];
      return pushInTransaction(connection, { list, texts, key: this.#key, slot, sequence, born: this.#born, rememberedMs: REMEMBERED_MS });
    }
    const args: (string | number)[] = [this.#epoch, slot, sequence, REMEMBERED_MS];
    for (const texts of batch.values()) args.push(texts.length);
    for (const texts of batch.values()) for (const text of texts) args.push(text);
    return connection.script(publishScript, [this.#key, ...batch.keys()], args);
  }

  async #open(connection: RedisConnection): Promise<void> {
    if (this.#opened?.clientId !== connection.clientId || this.#opened.runId !== connection.server.runId) {
      this.#isFenced = await fenceOff(this.#opened, connection);
      this.#opened = { clientId: connection.clientId, runId: connection.server.runId };
    }
    const epoch = String(++this.#epochs);
    const known = new Map(asPairs(await connection.script(openScript, [this.#key], [epoch, REMEMBERED_MS])));
    this.#epoch = epoch;
    this.#executed = known;
    this.#born = known.get("born") ?? "";
  }

  async #slot(signal: AbortSignal): Promise<number> {
    for (;;) {
      signal.throwIfAborted();
      const slot = this.#freeSlots.shift();
      if (slot !== undefined) return slot;
      await this.#turnInQueue(signal);
    }
  }

  async #turnInQueue(signal: AbortSignal): Promise<void> {
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    this.#waiting.push(wake);
    try {
      await abortable(woken, signal);
    } catch (error) {
      const at = this.#waiting.indexOf(wake);
      if (at === -1) this.#waiting.shift()?.(); // it was our turn: pass it on
      else this.#waiting.splice(at, 1);
      throw error;
    }
  }
}

function sizeOf(batch: Batch): number {
  let size = 0;
  for (const texts of batch.values()) size += texts.length;
  return size;
}

/** The list of a batch that is one list's, and large. */
function wideList(batch: Batch): string | undefined {
  if (batch.size > 1) return undefined;
  for (const [list, texts] of batch) return texts.length < WORTH_A_TRANSACTION ? undefined : list;
  return undefined;
}
