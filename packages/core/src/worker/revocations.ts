/**
 * What this worker knows of revocations: read from the broker when it starts, heard on the control channel, and read on
 * from where it stood whenever something may have been missed. Where the broker keeps none, it is what was heard.
 *
 * Invariant: once `load` has resolved, a task that was revoked before is found, in memory or by asking the broker.
 */
import { stampMarksOf, taskMark } from "../app/revocation-marks.ts";
import type { RevocationCursor, Revocations } from "../brokers/broker.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import { type Clock, type Random, sleep, type Timer } from "../shared/clock.ts";
import { errorText, LovageError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";
import { RevokedTasks } from "./revoked.ts";

export interface RevocationsDeps {
  /** undefined: the broker keeps none. */
  readonly store: Revocations | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Marks in memory. */
  readonly max: number;
  /** How long one is kept in memory that the broker does not keep. */
  readonly expiresMs: number;
  /** How often the broker is asked for what was missed. */
  readonly refreshMs: number;
  /** Told of marks that are new here: what runs or waits under them is to end. */
  onRevoked(marks: ReadonlySet<string>): void;
}

const PAGE = 5000;
const RETRY = { baseMs: 100, maxMs: 2000 };

interface Question {
  readonly marks: readonly string[];
  resolve(isRevoked: boolean): void;
  reject(error: unknown): void;
}

export class KnownRevocations {
  readonly #deps: RevocationsDeps;
  readonly #revoked: RevokedTasks;
  readonly #ending = new AbortController();
  #cursor: RevocationCursor | undefined;
  #reading: Promise<void> | undefined;
  #isReadAgain = false;
  #timer: Timer | undefined;
  #questions: Question[] = [];

  constructor(deps: RevocationsDeps) {
    this.#deps = deps;
    this.#revoked = new RevokedTasks(deps.clock, { max: deps.max });
  }

  /** Nothing is revoked: nothing need be looked up. */
  get isEmpty(): boolean {
    return this.#revoked.isEmpty;
  }

  /** What is not found in memory may be revoked all the same: `ask`. */
  get isPartial(): boolean {
    return this.#deps.store !== undefined && this.#revoked.isPartial;
  }

  has(task: ReceivedTask): boolean {
    return this.#revoked.has(task);
  }

  marks(): IterableIterator<string> {
    return this.#revoked.marks();
  }

  /** Whether the broker keeps it. All questions of one turn of the event loop are one round trip. */
  ask(task: ReceivedTask): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#questions.push({ marks: [taskMark(task.id), ...stampMarksOf(task)], resolve, reject });
      if (this.#questions.length === 1) setImmediate(() => void this.#askAll());
    });
  }

  /** Reads all that there is room for. Waits until the broker answers; resolves early when `stop` was called. */
  async load(): Promise<void> {
    const { store, clock, random, logger } = this.#deps;
    if (store === undefined) return;
    this.#planRefresh();
    for (let failures = 0; !this.#ending.signal.aborted; failures++) {
      try {
        return await this.#readOn(store);
      } catch (error) {
        if (failures === 0) logger.warn({ err: error }, `revoked tasks could not be read from the broker: ${errorText(error)}`);
        if (!(error instanceof LovageError && error.transient)) return; // it will not answer: what is heard from now on has to do
        await sleep(clock, backoffMs(failures, RETRY, random), this.#ending.signal).catch(() => undefined);
      }
    }
  }

  /** Something may have been missed. */
  refresh(): void {
    const { store, logger } = this.#deps;
    if (store === undefined || this.#ending.signal.aborted) return;
    if (this.#reading) {
      this.#isReadAgain = true;
      return;
    }
    this.#reading = this.#readOn(store)
      .catch((error: unknown) => {
        logger.debug({ err: error }, `revoked tasks could not be read from the broker: ${errorText(error)}`); // the next refresh does
      })
      .finally(() => {
        this.#reading = undefined;
        if (!this.#isReadAgain) return;
        this.#isReadAgain = false;
        this.refresh();
      });
  }

  /** Heard of. `isKept`: the broker keeps it already, or nobody but this worker is meant. */
  revoke(marks: readonly string[], isKept: boolean): void {
    const { store, expiresMs, logger } = this.#deps;
    // What the broker keeps is read from it too, and then has its exact time; until then it is remembered for as long as Celery does.
    for (const mark of marks) this.#revoked.add(mark, expiresMs);
    this.#deps.onRevoked(new Set(marks));
    if (isKept || store === undefined) return;
    store.add(marks).catch((error: unknown) => {
      logger.warn({ err: error }, `the broker could not be told of ${marks.length} revoked tasks: ${errorText(error)}`);
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#ending.abort(new Error("the worker has stopped"));
  }

  async #readOn(store: Revocations): Promise<void> {
    for (;;) {
      const { marks, cursor } = await store.page({ limit: PAGE, after: this.#cursor, newest: this.#deps.max + 1 }); // one too many tells that there are more
      if (this.#ending.signal.aborted) return;
      this.#cursor = cursor;
      for (const { mark, leftMs } of marks) this.#revoked.add(mark, leftMs);
      if (marks.length > 0) this.#deps.onRevoked(new Set(marks.map(({ mark }) => mark)));
      if (marks.length < PAGE) return;
    }
  }

  #planRefresh(): void {
    const { clock, random, refreshMs } = this.#deps;
    const again = (): void => {
      this.refresh();
      this.#planRefresh();
    };
    this.#timer = clock.timer(refreshMs * (0.75 + random() / 2), again, { background: true });
  }

  async #askAll(): Promise<void> {
    const questions = this.#questions.splice(0);
    try {
      const kept = await (this.#deps.store as Revocations).among([...new Set(questions.flatMap(({ marks }) => marks))]);
      for (const { marks, resolve } of questions) resolve(marks.some((mark) => kept.has(mark)));
    } catch (error) {
      for (const { reject } of questions) reject(error);
    }
  }
}
