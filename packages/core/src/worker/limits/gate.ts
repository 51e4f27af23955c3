/**
 * Where messages under limits for the whole cluster pass: asks the broker for all of a batch together, keeps those that start in
 * a moment, gives back what they hold when they have ended, and wakes those that wait as their turn comes.
 *
 * A message here: asked for (it counts as busy) -> passes | its start is a moment away (it has its loan and no slot) -> passes |
 * it waits in the broker, and is this worker's no more.
 * Any worker that consumes the queue gives turns, and only so many as it has free slots: what nobody could run stays in its line.
 */
import { LOOKAHEAD_MS } from "../../brokers/gcra.ts";
import type { Delivery } from "../../brokers/broker.ts";
import type { GivenUp, Limits, Turns } from "../../brokers/limits.ts";
import type { PausedQueues } from "../../brokers/queue-pauses.ts";
import { type Clock, type Random, sleep, type Timer } from "../../shared/clock.ts";
import { errorText } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import { backoffMs } from "../backoff.ts";
import type { LoanCredit } from "../credit.ts";
import { DueHeap } from "../eta.ts";
import type { TaskObserver } from "../observer.ts";
import type { Request } from "../request.ts";
import type { KnownLimits } from "./known-limits.ts";

export interface GateDeps {
  readonly limits: Limits;
  readonly known: KnownLimits;
  /** Under which loans are kept. */
  readonly owner: string;
  readonly queues: readonly string[];
  /** Nobody is woken in these. */
  readonly paused: PausedQueues;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly credit: LoanCredit;
  readonly observers: Required<TaskObserver>;
  /** May run as far as limits go. They have a loan and count as busy. */
  pass(requests: readonly Request[]): void;
  /** Nobody can say: it is to be tried again later. It has a loan and counts as busy. */
  postpone(request: Request): void;
  /** It has a loan and counts as busy no more. */
  putBack(requests: readonly Request[]): void;
}

/** Turns are looked for this often when none is known of: another worker, now gone, may have known. */
const LOOK_MS = 1000;
/** While no slot is free nobody is woken. */
const BUSY_MS = 100;
const SOONEST_MS = 10;
const RETRY = { baseMs: 100, maxMs: 5000 };

export class LimitGate {
  readonly #deps: GateDeps;
  readonly #soon: DueHeap<Request>;
  readonly #ending = new AbortController();
  #asked: Request[] = [];
  #released: Delivery[] = [];
  #givenUp: GivenUp[] = [];
  /** Until nothing is left to give back. */
  #returning: Promise<void> | undefined;
  #turns: Timer | undefined;
  #turnsAt = Number.POSITIVE_INFINITY;
  #advancing: Promise<void> | undefined;
  #stops = 0;

  constructor(deps: GateDeps) {
    this.#deps = deps;
    const now = (): number => deps.clock.monotonic();
    this.#soon = new DueHeap(deps.clock, now, (due) => this.#passLate(due));
    deps.known.onRead(() => this.#planTurns(0));
  }

  /** Tells the broker what the code says, and begins to wake those that wait. Tries until the broker answers or `stop` is called. @throws ConfigurationError */
  async begin(): Promise<void> {
    const { known, clock, random, logger } = this.#deps;
    for (let failures = 0; !this.#ending.signal.aborted; failures++) {
      try {
        return await known.load();
      } catch (error) {
        if (!isPassing(error)) throw error;
        if (failures === 0) logger.warn({ err: error }, `limits cannot be read, trying again: ${errorText(error)}`);
        await sleep(clock, backoffMs(failures, RETRY, random), this.#ending.signal).catch(() => undefined);
      }
    }
  }

  /** Limits may have been set by hand: which messages are under one is read again. */
  refresh(): void {
    void this.#deps.known.refresh();
  }

  /** False: no limit is in its way. Else it is asked for, and passes later. */
  ask(request: Request): boolean {
    if (!this.#deps.known.any) return false;
    request.limits = this.#deps.known.idsOf(request);
    if (request.limits === undefined) return false;
    this.#asked.push(request);
    if (this.#asked.length === 1) setImmediate(() => this.flush());
    return true;
  }

  /** Asks for all that came. */
  flush(): void {
    if (this.#asked.length === 0) return;
    const requests = this.#asked;
    this.#asked = [];
    void this.#admit(requests);
  }

  /** It will not start: a start that may be kept for it goes to another. */
  giveUp(request: Request): void {
    if (!this.#deps.known.any) return;
    const limits = this.#deps.known.idsOf(request);
    if (limits === undefined) return;
    this.#givenUp.push({ id: request.received.id, limits, delivery: request.delivery });
    this.#planReturns();
  }

  /** It has ended, or will not run here. */
  left(request: Request): void {
    if (request.limits === undefined) return;
    const { outcome } = request;
    if (outcome?.kind === "snoozed" && outcome.holdsLimit === true) void this.#holdBack(request.limits, outcome.delayMs);
    if (!request.isHeld) return;
    request.isHeld = false;
    this.#released.push(request.delivery);
    this.#planReturns();
  }

  /** Takes out those that are to start in a moment and match. */
  takeWhere(matches: (request: Request) => boolean): Request[] {
    return this.#soon.takeWhere(matches);
  }

  /** Takes out all that are here. Those that are asked for now are put back when the answer comes. */
  clear(): Request[] {
    this.#stops += 1;
    const asked = this.#asked;
    this.#asked = [];
    for (const _ of asked) this.#deps.credit.freeSlot();
    return [...this.#soon.clear(), ...asked];
  }

  /** Wakes nobody any more. Resolves when all that was held is given back; `abandon` ends the waiting for that. */
  async stop(): Promise<void> {
    this.#turns?.cancel();
    this.#deps.known.stop();
    await this.#advancing;
    this.#turns?.cancel();
    await this.#returning;
  }

  abandon(): void {
    this.#ending.abort(new Error("the worker has stopped"));
  }

  async #admit(requests: readonly Request[]): Promise<void> {
    const { limits, owner, credit, observers, logger, putBack, pass, postpone } = this.#deps;
    const stops = this.#stops;
    const asked = requests.map(({ delivery, received: { id, expires }, limits: ids = [] }) => ({
      delivery,
      id,
      limits: ids,
      expiresAt: expires?.at,
    }));
    let told: Awaited<ReturnType<Limits["admit"]>>;
    try {
      told = await limits.admit(owner, asked, this.#ending.signal);
    } catch (error) {
      if (!this.#ending.signal.aborted)
        logger.error(
          { err: error, tasks: requests.length },
          `limits could not be asked, the tasks are tried again later: ${errorText(error)}`,
        );
      for (const request of requests) postpone(request);
      return;
    }
    const ready: Request[] = [];
    const stopped: Request[] = [];
    for (const [i, request] of requests.entries()) {
      const answer = told.answers[i];
      if (answer?.kind === "admitted") {
        request.isHeld = answer.isHeld;
        if (stops !== this.#stops) stopped.push(request);
        else if (answer.startsInMs <= 1) ready.push(request);
        else this.#startsIn(answer.startsInMs, request);
        if (stops !== this.#stops) credit.freeSlot();
        continue;
      }
      credit.freeSlot();
      credit.freeLoan();
      if (answer?.kind === "waits") observers.setAside(request, "limited");
      else observers.lost(request);
    }
    if (told.nextTurnInMs !== undefined) this.#planTurns(told.nextTurnInMs);
    if (stopped.length > 0) putBack(stopped);
    if (ready.length > 0) pass(ready);
  }

  #startsIn(ms: number, request: Request): void {
    this.#deps.credit.freeSlot();
    this.#soon.add(this.#deps.clock.monotonic() + ms, request);
  }

  #passLate(due: readonly Request[]): void {
    for (const _ of due) this.#deps.credit.wantSlot();
    this.#deps.pass(due);
  }

  get #openQueues(): readonly string[] {
    const { queues, paused } = this.#deps;
    return paused.isAny ? queues.filter((queue) => !paused.has(queue)) : queues;
  }

  // --- turns of those that wait ------------------------------------------------------------------------------------

  /** Workers that know of the same turn do not all come at once, and whoever comes first gives it in time. */
  #planTurns(inMs: number): void {
    const { clock, random } = this.#deps;
    if (this.#ending.signal.aborted) return;
    const delayMs = Math.max(SOONEST_MS, inMs - LOOKAHEAD_MS * (0.5 + random() / 2));
    const at = clock.monotonic() + Math.min(delayMs, LOOK_MS);
    if (this.#turns !== undefined && this.#turnsAt <= at) return;
    this.#turns?.cancel();
    this.#turnsAt = at;
    this.#turns = clock.timer(at - clock.monotonic(), () => this.#look(), { background: true });
  }

  #look(): void {
    this.#turns = undefined;
    const want = this.#deps.credit.free();
    if (this.#advancing || want <= 0) return this.#planTurns(BUSY_MS + LOOKAHEAD_MS);
    this.#advancing = this.#advance(want).finally(() => (this.#advancing = undefined));
  }

  async #advance(want: number): Promise<void> {
    const { limits, owner, known, logger } = this.#deps;
    let nextMs: number | undefined = LOOK_MS;
    try {
      nextMs = (await limits.advance(owner, { queues: this.#openQueues, want })).nextTurnInMs;
    } catch (error) {
      logger.debug({ err: error }, `nobody could be given a turn: ${errorText(error)}`);
    }
    // Without a limit somebody may still wait: it was taken away, and whoever was to give turns is gone. The next reading looks again.
    if (nextMs !== undefined || known.any) this.#planTurns(nextMs ?? LOOK_MS + LOOKAHEAD_MS);
  }

  // --- what goes back ----------------------------------------------------------------------------------------------

  #planReturns(): void {
    this.#returning ??= new Promise((resolve) => setImmediate(resolve)).then(() => this.#giveBack());
  }

  /** Until it succeeds: a place that nobody gives back stays taken as long as this worker lives. */
  async #giveBack(): Promise<void> {
    const { limits, owner } = this.#deps;
    const queues = this.#openQueues;
    while (this.#released.length > 0 || this.#givenUp.length > 0) {
      const released = this.#released;
      const givenUp = this.#givenUp;
      this.#released = [];
      this.#givenUp = [];
      if (released.length > 0)
        this.#note(await this.#insist("give places back", () => limits.release(owner, released, { queues, want: released.length })));
      if (givenUp.length > 0)
        this.#note(await this.#insist("give starts back", () => limits.giveUp(owner, givenUp, { queues, want: givenUp.length })));
    }
    this.#returning = undefined; // in the very step that found nothing left: what comes next is planned anew
  }

  #note(turns: Turns | undefined): void {
    if (turns?.nextTurnInMs !== undefined) this.#planTurns(turns.nextTurnInMs);
  }

  async #holdBack(ids: readonly string[], durationMs: number): Promise<void> {
    await this.#insist("hold a limit back", () => this.#deps.limits.holdBack(ids, durationMs));
  }

  async #insist<T>(what: string, step: () => Promise<T>): Promise<T | undefined> {
    const { clock, random, logger } = this.#deps;
    for (let failures = 0; !this.#ending.signal.aborted; failures++) {
      try {
        return await step();
      } catch (error) {
        if (failures === 0) logger.warn({ err: error }, `could not ${what}, trying again: ${errorText(error)}`);
        await sleep(clock, backoffMs(failures, RETRY, random), this.#ending.signal).catch(() => undefined);
      }
    }
    return undefined;
  }
}

/** Errors that are not ours are taken for passing ones. */
function isPassing(error: unknown): boolean {
  return !(error instanceof Error && "code" in error && error.code === "CONFIGURATION");
}
