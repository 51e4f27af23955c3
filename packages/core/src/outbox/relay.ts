/**
 * The relay takes rows from the outbox, publishes them, and deletes them once the broker holds them. At least once: a crash between the
 * two publishes again, under the same task ids.
 *
 * In rounds: claim -> publish in waves, one after the other -> settle. A wave is what the broker takes in one step, and the first that is
 * not held for certain ends the round: so nothing of a key is published before what comes before it. A broker or database that is away
 * ends the round too, and the next comes after a pause that grows to `MAX_PAUSE_MS`.
 */
import { publishUnique } from "../app/unique-publish.ts";
import type { Lovage } from "../app/app.ts";
import type { Broker, Outgoing, PublishFate } from "../brokers/broker.ts";
import { PublishError } from "../brokers/errors.ts";
import { type Clock, sleep } from "../shared/clock.ts";
import { errorText, LovageError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { messageOf } from "./row-message.ts";
import type { Claim, ClaimOutcome, OutboxRow, OutboxStatus, OutboxStore, Refusal, Verdict } from "./store.ts";

export interface RelayOptions {
  /** Rows of one round. Default 500. */
  readonly batch?: number;
  /** The longest time without a look for rows. Default 1000; commits wake the relay at once where the database tells of them. */
  readonly pollMs?: number;
}

export interface RelayCounts {
  readonly published: number;
  readonly setAside: number;
  readonly failedRounds: number;
}

const ROUND_BYTES = 8 * 1024 * 1024;
/** Below what every broker takes in one step. */
const WAVE = 100;
const WAVE_BYTES = 2 * 1024 * 1024;
/** A row that the broker refuses so often, while it takes others, is set aside. */
const MAX_REFUSALS = 5;
/** A broker that took something so long ago works: as long as a refused row is put off, so that nothing before its last refusal counts. */
const RECENT_MS = 1000;
/** So many refusals in a row without one message taken: the broker takes nothing. */
const ENOUGH_REFUSALS = 5;
/** Rows are there and wait for a transaction or another relay to end, which nothing tells of. */
const HELD_BACK_MS = 50;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5000;

/** Errors that no waiting mends. */
const ENDS: ReadonlySet<string> = new Set(["OUTBOX_SCHEMA", "OUTBOX_DRIVER_MISSING", "CONFIGURATION", "SETTING", "APP_CLOSED"]);

/** A row with its message. */
interface Ready {
  readonly row: OutboxRow;
  readonly outgoing: Outgoing;
}

export class OutboxRelay {
  readonly #app: Lovage;
  readonly #store: OutboxStore;
  readonly #logger: Logger;
  readonly #batch: number;
  readonly #pollMs: number;
  #bound: Broker | undefined;
  /** When the broker last took something, by the monotonic clock. */
  #takenAt = -Infinity;
  #published = 0;
  #setAside = 0;
  #failedRounds = 0;

  constructor(app: Lovage, store: OutboxStore, options: RelayOptions = {}) {
    this.#app = app;
    this.#store = store;
    this.#logger = app.logger.child({ outbox: store.location });
    this.#batch = options.batch ?? 500;
    this.#pollMs = options.pollMs ?? 1000;
  }

  /** Of the outbox, without credentials. */
  get location(): string {
    return this.#store.location;
  }

  get clock(): Clock {
    return this.#app.clock;
  }

  /** Since this relay began. */
  get counts(): RelayCounts {
    return { published: this.#published, setAside: this.#setAside, failedRounds: this.#failedRounds };
  }

  /** The lag, and what waits: for metrics. */
  status(): Promise<OutboxStatus> {
    return this.#store.status();
  }

  /** Works until `signal` aborts; a round that has begun is finished first. @throws OutboxSchemaError, ConfigurationError */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const next = await this.round();
        if (failures > 0) this.#logger.info({}, "the outbox is published again");
        failures = 0;
        if (next !== "more") await this.#store.wait(next === "heldBack" ? HELD_BACK_MS : this.#pollMs, signal);
      } catch (error) {
        if (error instanceof LovageError && ENDS.has(error.code)) throw error;
        this.#failedRounds++;
        const message = "the outbox cannot be published now: its rows wait";
        if (failures++ === 0) this.#logger.error({ err: error }, message);
        else this.#logger.debug({ err: error }, message);
        const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures, 10), MAX_PAUSE_MS) * (0.5 + this.#app.random());
        await sleep(this.#app.clock, pauseMs, signal).catch(() => undefined);
      }
    }
  }

  /** Publishes what waits now, and returns when nothing is left that may be published. @throws what `run` waits out */
  async drain(): Promise<void> {
    while ((await this.round()) === "more");
  }

  /** One claim. "more": there may be more at once. */
  async round(): Promise<"more" | "idle" | "heldBack"> {
    const claim = await this.#store.claim({ rows: this.#batch, bytes: ROUND_BYTES });
    if (claim.kind === "nothing") return claim.isHeldBack ? "heldBack" : "idle";
    const round = new Round(this.#app, claim.rows, (wave) => this.#publish(wave), this.#app.clock.monotonic() - this.#takenAt < RECENT_MS);
    try {
      await round.run();
    } catch (error) {
      await claim.release(); // a defect: nothing is known of what was published, so everything stays
      throw error;
    }
    if (round.outcome.published.length > 0) this.#takenAt = this.#app.clock.monotonic();
    await this.#settle(claim, round.outcome);
    if (round.failure !== undefined) throw round.failure;
    return "more";
  }

  async #settle(claim: Claim, outcome: ClaimOutcome): Promise<void> {
    await claim.settle(outcome);
    this.#published += outcome.published.length;
    this.#setAside += outcome.aside.length;
    const rows = new Map(claim.rows.map((row) => [row.seq, row]));
    for (const { seq, reason } of outcome.aside)
      this.#logger.error(
        { task: rows.get(seq)?.task, id: rows.get(seq)?.id, reason },
        "a task of the outbox cannot be published: it is set aside",
      );
    for (const { seq, reason } of outcome.refused)
      this.#logger.warn(
        { task: rows.get(seq)?.task, id: rows.get(seq)?.id, reason },
        "the broker refused a task of the outbox: it and its key wait",
      );
  }

  /** Throws as `Broker.publish` does. */
  async #publish(wave: readonly Outgoing[]): Promise<void> {
    const { clock, settings } = this.#app;
    const broker = await this.#app.broker();
    if (this.#bound !== broker) {
      await broker.bind(this.#app.calls.routing.declared.flatMap((queue) => queue.bindings));
      this.#bound = broker;
    }
    const deadline = new AbortController();
    const timer = clock.timer(settings.publishTimeoutMs, () =>
      deadline.abort(new DOMException("publishTimeout has passed", "TimeoutError")),
    );
    try {
      if (wave.every(({ unique }) => unique === undefined)) await broker.publish(wave, { signal: deadline.signal });
      else await publishUnique(broker, wave, { signal: deadline.signal });
    } finally {
      timer.cancel();
    }
  }
}

/** The rows of one claim on their way to the broker. */
class Round {
  readonly #app: Lovage;
  readonly #rows: readonly OutboxRow[];
  readonly #publish: (wave: readonly Outgoing[]) => Promise<void>;
  readonly #hasTakenOthers: boolean;
  readonly #published: number[] = [];
  readonly #aside: Verdict[] = [];
  readonly #refused: Refusal[] = [];
  /** Why the round ended early; what is not in the outcome stays. */
  failure: unknown;

  constructor(app: Lovage, rows: readonly OutboxRow[], publish: (wave: readonly Outgoing[]) => Promise<void>, hasTakenOthers: boolean) {
    this.#app = app;
    this.#hasTakenOthers = hasTakenOthers;
    this.#rows = rows;
    this.#publish = publish;
  }

  get outcome(): ClaimOutcome {
    return { published: this.#published, aside: this.#aside, refused: this.#refused };
  }

  async run(): Promise<void> {
    for (const wave of wavesOf(this.#decode())) {
      const error = await this.#send(wave);
      if (error === undefined) continue;
      if (isTransient(error)) {
        this.failure = error;
        return;
      }
      if (!(await this.#sendSingly(wave))) return;
    }
  }

  *#decode(): Generator<Ready> {
    for (const row of this.#rows) {
      try {
        yield { row, outgoing: messageOf(row, this.#app) };
      } catch (error) {
        this.#aside.push({ seq: row.seq, reason: errorText(error) });
      }
    }
  }

  /** undefined when the broker holds all of them; else what is known to be held is noted. */
  async #send(wave: readonly Ready[]): Promise<unknown> {
    let fates: readonly PublishFate[] = [];
    let failure: unknown;
    try {
      await this.#publish(wave.map(({ outgoing }) => outgoing));
    } catch (error) {
      failure = error;
      if (error instanceof PublishError) fates = error.fates;
    }
    for (const [index, { row }] of wave.entries()) if (failure === undefined || fates[index] === "held") this.#published.push(row.seq);
    return failure;
  }

  /**
   * After a refusal that is not the broker's absence: which row is it? A row is to blame only when the broker takes others; where it takes
   * none, something may be wrong with the broker or with our rights. False: the round ends here.
   */
  async #sendSingly(wave: readonly Ready[]): Promise<boolean> {
    const held = new Set(this.#published);
    const waitingKeys = new Set<string>();
    const refusals: { row: OutboxRow; reason: string }[] = [];
    let refusal: unknown;
    for (const ready of wave) {
      const { row } = ready;
      if (held.has(row.seq) || (row.key !== null && waitingKeys.has(row.key))) continue;
      const error = await this.#send([ready]);
      if (error === undefined) continue;
      if (isTransient(error)) {
        this.failure = error;
        break;
      }
      refusal = error;
      if (row.key !== null) waitingKeys.add(row.key);
      refusals.push({ row, reason: errorText(error) });
      if (this.#published.length === 0 && refusals.length === ENOUGH_REFUSALS) break;
    }
    const isItsFault = this.#hasTakenOthers || this.#published.length > 0;
    for (const { row, reason } of refusals) {
      if (isItsFault && row.attempts + 1 >= MAX_REFUSALS) this.#aside.push({ seq: row.seq, reason });
      else this.#refused.push({ seq: row.seq, reason, isItsFault });
    }
    if (!isItsFault && refusals.length === ENOUGH_REFUSALS) this.failure ??= refusal;
    return refusals.length === 0 && this.failure === undefined;
  }
}

/**
 * What goes in one publish. To an exchange that has to be looked up a key sends one row at a time: a broker may need several steps for
 * messages with several destinations.
 */
function* wavesOf(rows: Iterable<Ready>): Generator<readonly Ready[]> {
  let wave: Ready[] = [];
  let bytes = 0;
  /** Whether a message of the key goes to an exchange. */
  const keys = new Map<string, boolean>();
  for (const ready of rows) {
    const { row, outgoing } = ready;
    const size = outgoing.message.body.byteLength;
    const isRouted = outgoing.exchange !== "";
    const earlier = row.key === null ? undefined : keys.get(row.key);
    const isRepeated = earlier !== undefined && (earlier || isRouted);
    if (wave.length > 0 && (wave.length === WAVE || bytes + size > WAVE_BYTES || isRepeated)) {
      yield wave;
      wave = [];
      bytes = 0;
      keys.clear();
    }
    wave.push(ready);
    bytes += size;
    if (row.key !== null) keys.set(row.key, isRouted);
  }
  if (wave.length > 0) yield wave;
}

/** What is not ours is a deadline or a broken connection. */
function isTransient(error: unknown): boolean {
  return !(error instanceof LovageError) || error.transient;
}
