/**
 * Takes messages for one worker, and waits for the bell when there are none. Ends when its signal aborts; what it took
 * and could not yield any more goes back.
 */
import { EnvelopeReader } from "../../protocol/envelope-reader.ts";
import { sleep, type Timer } from "../../shared/clock.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { ConsumeOptions, DeadLetterCaps, Delivery } from "../broker.ts";
import { countByQueue, QueueTurns } from "../queue-order.ts";
import { SqliteDelivery } from "./delivery.ts";
import { FairRows } from "./fair-rows.ts";
import { LeaseRows, type WorkerRow } from "./lease-rows.ts";
import { loseLoans } from "./losses.ts";
import { MessageRows } from "./message-rows.ts";

export interface ConsumerOptions extends ConsumeOptions {
  readonly file: SqliteFile;
  readonly queues: readonly string[];
  /** Tells this open broker from all others. */
  readonly consumer: string;
  readonly timeoutMs: number;
  readonly deadLetterCaps: DeadLetterCaps;
  /** Numbers a reserve; never twice for one holder. */
  readonly nextTake: () => number;
}

/** One transaction takes at most so many: it lasts some milliseconds, in which nobody else writes. */
const BATCH_MAX = 500;
/** Sorted in one transaction; and so many of them before something is lent all the same. */
const SORTED_AT_ONCE = 1000;
const SLICES_MAX = 1000;
const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** How often a consumer that waits, for messages or for a free slot, says that it is alive. */
const ALIVE_MS = 2000;
/** Between two attempts at a file that cannot be used. */
const RETRY_MS = 1000;

export class SqliteConsumer {
  readonly #options: ConsumerOptions;
  readonly #messages: MessageRows;
  readonly #workers: LeaseRows;
  readonly #fair: FairRows;
  readonly #reader = new EnvelopeReader();
  readonly #turns: QueueTurns | undefined;
  #entered = false;
  #takes = 0;
  #rung = false;
  #connected = false;
  #heartbeat: Timer | undefined;
  #hasEnded = false;
  #wake: (() => void) | undefined;

  constructor(options: ConsumerOptions) {
    this.#options = options;
    this.#messages = new MessageRows(options.file);
    this.#workers = new LeaseRows(options.file);
    this.#fair = new FairRows(options.file);
    this.#turns = options.order && new QueueTurns(options.order, options.queues);
  }

  async *batches(): AsyncGenerator<readonly Delivery[], void, undefined> {
    const { file, credit, events, signal } = this.#options;
    const bell = file.bell.listen("ready", () => this.#ring());
    const forgetPauses = this.#options.paused?.onChange(() => this.#ring());
    const onAbort = (): void => this.#wake?.();
    signal.addEventListener("abort", onAbort, { once: true });
    this.#beat();
    try {
      while (!signal.aborted) {
        await credit.whenFree(signal);
        this.#rung = false;
        let batch: readonly Delivery[];
        try {
          batch = await this.#reserve();
        } catch (error) {
          if (signal.aborted) return;
          this.#connected = false;
          events?.disconnected?.(error);
          await sleep(file.clock, RETRY_MS, signal);
          continue;
        }
        this.#answered();
        if (batch.length === 0) await this.#bell();
        else if (!signal.aborted) yield batch;
        else await this.#giveBack(batch);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#hasEnded = true;
      this.#heartbeat?.cancel();
      signal.removeEventListener("abort", onAbort);
      bell[Symbol.dispose]();
      forgetPauses?.();
    }
  }

  #answered(): void {
    const { events } = this.#options;
    if (!this.#connected) events?.connected?.();
    this.#connected = true;
    events?.alive?.();
  }

  #beat(): void {
    this.#heartbeat = this.#options.file.clock.timer(ALIVE_MS, () => void this.#onBeat(), { background: true });
  }

  /** While every slot is taken nothing is asked for: a look at the file tells whether it could be. */
  async #onBeat(): Promise<void> {
    const { file, credit, events } = this.#options;
    if (credit.free() <= 0) {
      try {
        await file.read(() => this.#hasAny(), this.#options);
        if (!this.#hasEnded) this.#answered();
      } catch (error) {
        this.#connected = false;
        if (!this.#hasEnded) events?.disconnected?.(error);
      }
    }
    if (!this.#hasEnded) this.#beat();
  }

  async #reserve(): Promise<readonly Delivery[]> {
    const { file, worker, credit, nextTake, fair, maxBatchBytes = MAX_BATCH_BYTES } = this.#options;
    if (!this.#entered) {
      await file.write(() => this.#enter(), this.#options);
      this.#entered = true;
    } else if (!(await file.read(() => this.#hasAny(), this.#options))) {
      return [];
    }
    const want = Math.min(credit.free(), BATCH_MAX);
    if (want <= 0) return [];
    await this.#sort();
    return file.write(() => {
      const { holder, lost } = this.#workers.find(worker) ?? this.#enter();
      if (lost === 1) return []; // lent again once the guard has renewed the lease, and so knows
      const take = nextTake();
      const queues = this.#openQueues();
      const plan = this.#turns?.plan(want, (queue) => queues.includes(queue));
      const lent = this.#messages.reserve({ holder, take, queues, want, maxBytes: maxBatchBytes, turn: this.#takes++, fair, plan });
      if (plan) this.#turns?.took(plan, countByQueue(lent));
      return lent.map((message) => new SqliteDelivery(holder, take, message, this.#reader));
    }, this.#options);
  }

  /** What has come to fair queues goes into the lines of its keys, before anything is lent: what is last in a queue may be the first of its key. */
  async #sort(): Promise<void> {
    const { file, fair } = this.#options;
    for (const name of this.#openQueues()) {
      if (!fair?.has(name)) continue;
      for (let slices = 0, sorted = SORTED_AT_ONCE; sorted === SORTED_AT_ONCE && slices < SLICES_MAX; slices += 1) {
        sorted = await file.write(() => this.#fair.sort(this.#messages.number(name), SORTED_AT_ONCE), this.#options);
      }
    }
  }

  /** In a transaction. The loans of a predecessor of the same name return, as lost. */
  #enter(): WorkerRow {
    const { file, worker, consumer, deadLetterCaps } = this.#options;
    const predecessor = this.#workers.consume(worker, consumer);
    if (predecessor !== undefined) loseLoans(file, predecessor, { maxDeliveries: Infinity, deadLetterCaps });
    return this.#workers.find(worker) as WorkerRow; // just made
  }

  /** Without a write transaction, which an idle worker would take from a busy one. */
  #hasAny(): boolean {
    const { fair } = this.#options;
    return this.#openQueues().some((name) => {
      const queue = this.#messages.known(name);
      if (queue === undefined) return false;
      return Object.values(this.#messages.filledSteps(queue)).includes(1) || (fair?.has(name) === true && this.#fair.hasAny(queue));
    });
  }

  #openQueues(): readonly string[] {
    const { queues, paused } = this.#options;
    return paused?.isAny ? queues.filter((queue) => !paused.has(queue)) : queues;
  }

  async #giveBack(batch: readonly Delivery[]): Promise<void> {
    const { file } = this.#options;
    await file.write(() => this.#messages.returnLoans(batch.map(({ loan }) => loan)), { timeoutMs: this.#options.timeoutMs });
    file.bell.ring("ready");
  }

  #ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  async #bell(): Promise<void> {
    const { file, signal } = this.#options;
    if (this.#rung || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = file.clock.timer(ALIVE_MS, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
