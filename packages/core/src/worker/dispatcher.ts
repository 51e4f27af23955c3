/**
 * Brings requests to a slot. What runs is looked after by `running-tasks.ts`, what has ended by `endings.ts`.
 *
 * Invariants: no body starts unless the lease is sure; a request that was acknowledged early starts only after the
 * broker confirmed that; of messages that were lost with a worker before, one at a time runs here, so that the one that
 * kills workers is told from those that only stood beside it; every request ends in exactly one settlement.
 */
import type { Lovage } from "../app/app.ts";
import type { LoanEnd } from "../brokers/broker.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Clock, Random, Timer } from "../shared/clock.ts";
import { isAggregate } from "./aggregate-run.ts";
import { Crews } from "./crews.ts";
import { Endings, type EndingsDeps } from "./endings.ts";
import type { Lane } from "./lanes.ts";
import type { Outcome } from "./outcome.ts";
import type { Request, RequestHome } from "./request.ts";
import { RunningTasks, type RunningTasksDeps } from "./running-tasks.ts";
import type { SettlementAnswer, SettlementOwner } from "./settle.ts";
import { Suspects } from "./suspects.ts";
import { isUniqueUntilStarted, lockAtStart } from "./unique-plan.ts";

export interface DispatcherDeps extends EndingsDeps, RunningTasksDeps {
  readonly app: Lovage;
  readonly hostname: string;
  /** Under which the worker's lease is kept. */
  readonly owner: string;
  /** Gives back what has not started, to be taken by anybody from then on. undefined: the broker cannot keep it until then. */
  readonly park: ((request: Request, dueAt: number) => void) | undefined;
  /** It has ended, or will not run here: what it held goes to others. */
  readonly left: ((request: Request) => void) | undefined;
  /** Whether a body may start, by the monotonic clock. */
  mayStart(monotonic: number): boolean;
  /** As far as this worker has it in memory. */
  isRevoked(request: Request): boolean;
}

/** Bodies that return at once are started for that long in one turn of the event loop; then sockets and timers have theirs. */
const SLICE_MS = 10;

/** What waits for a full pool beside others is looked at after so long, and parked for about so long. */
const SURPLUS_LOOK_MS = 250;
const SURPLUS_PARKED_MS = 1000;

const ACK: LoanEnd = { kind: "ack" };
const PUT_BACK: LoanEnd = { kind: "putBack" };
const NOTHING: readonly never[] = [];

export class Dispatcher implements RequestHome {
  readonly #deps: DispatcherDeps;
  /** What runs. */
  readonly tasks: RunningTasks;
  readonly #suspects: Suspects;
  readonly #endings: Endings;
  readonly #crews: Crews;
  #isPumping = false;
  #isPumpPlanned = false;
  #surplus: Timer | undefined;
  #isStopped = false;
  #idleWaiters: (() => void)[] = [];
  #processed = 0;

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
    deps.suspectTurn.onFree(() => this.pump());
    this.#suspects = new Suspects({
      ...deps,
      hasRoomFor: (request) => this.#hasRoomFor(request),
      start: (request) => {
        deps.credit.wantSlot();
        this.#start(request, deps.lanes.of(request), deps.clock.monotonic());
      },
      putBack: (requests) => this.putBack(requests),
    });
    this.tasks = new RunningTasks(deps);
    this.#endings = new Endings(deps, (request) => this.#leaveSlot(request));
    this.#crews = new Crews({
      ...deps,
      home: this,
      tasks: this.tasks,
      endings: this.#endings,
      mayRun: (request) => this.#mayRun(request),
      begin: (request, now) => this.#begin(request, now),
      leaveSlot: (request) => this.#leaveSlot(request),
      isStopped: () => this.#isStopped,
      pump: () => this.pump(),
    });
  }

  get app(): Lovage {
    return this.#deps.app;
  }
  get hostname(): string {
    return this.#deps.hostname;
  }
  get clock(): Clock {
    return this.#deps.clock;
  }
  get random(): Random {
    return this.#deps.random;
  }

  /** Bodies begun, since the start. */
  get processed(): number {
    return this.#processed;
  }
  get waiting(): number {
    let ready = 0;
    for (const lane of this.#deps.lanes.all) ready += lane.ready.size;
    return ready + this.#suspects.size + this.#crews.collected;
  }
  get suspectsWaiting(): number {
    return this.#suspects.size;
  }

  // --- to a slot ---------------------------------------------------------------------------------------------------

  /** The request has a loan and counts as busy. `pump` starts it, now or later. */
  add(request: Request): void {
    if (request.delivery.losses === 0) {
      if (this.#crews.collects(request)) return;
      const lane = this.#deps.lanes.of(request);
      lane.ready.push(request);
      if (lane.surplus > 0 && this.#deps.lanes.all.length > 1) this.#planSurplus();
      return;
    }
    this.#deps.credit.freeSlot();
    this.#suspects.add(request);
  }

  /** Starts what can start. Cheap to call when nothing can. */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      this.#startAll();
    } finally {
      this.#isPumping = false;
    }
  }

  #startAll(): void {
    this.#suspects.pump();
    for (const lane of this.#deps.lanes.all) if (lane.ready.size > 0) this.#startLane(lane);
  }

  #startLane(lane: Lane): void {
    let sliceEnd = 0;
    while (!this.#isStopped && lane.hasFreeSlot && lane.ready.size > 0) {
      const now = this.#deps.clock.monotonic();
      if (!this.#deps.mayStart(now)) return; // the next renewal pumps again
      if (sliceEnd === 0) sliceEnd = now + SLICE_MS;
      else if (now > sliceEnd) return this.#pumpNextTurn();
      this.#start(lane.ready.shift() as Request, lane, now);
    }
  }

  #planSurplus(): void {
    if (this.#deps.park === undefined) return;
    this.#surplus ??= this.clock.timer(SURPLUS_LOOK_MS, () => {
      this.#surplus = undefined;
      for (const lane of this.#deps.lanes.all) this.#parkSurplus(lane);
    });
  }

  /** They would wait here while other workers may have slots for them, and while other pools of this one have nothing to do. */
  #parkSurplus({ ready, surplus }: Lane): void {
    if (surplus <= 0) return;
    const { random, park } = this.#deps;
    const now = this.#deps.brokerNow();
    for (const request of this.#crews.dissolved(ready.takeLast(surplus))) park?.(request, now + SURPLUS_PARKED_MS * (0.5 + random()));
  }

  #pumpNextTurn(): void {
    if (this.#isPumpPlanned) return;
    this.#isPumpPlanned = true;
    setImmediate(() => {
      this.#isPumpPlanned = false;
      this.pump();
    });
  }

  #hasRoomFor(request: Request): boolean {
    return !this.#isStopped && this.#deps.lanes.of(request).hasFreeSlot && this.#deps.mayStart(this.#deps.clock.monotonic());
  }

  /** Whether it is to run; if not, it ends here. */
  #mayRun(request: Request): boolean {
    const { expires } = request.received;
    if (expires !== undefined && expires.at < this.#deps.brokerNow()) this.endUnrun(request, { kind: "revoked", how: "expired" });
    else if (this.#deps.isRevoked(request)) this.endUnrun(request, { kind: "revoked", how: "revoked" });
    else return true;
    return false;
  }

  #start(request: Request, lane: Lane, now: number): void {
    if (request.options.batch !== undefined) return this.#crews.start(request, lane, now);
    if (!this.#mayRun(request)) return;
    this.tasks.add(request);
    lane.running += 1;
    if (request.options.acksLate) {
      if (isUniqueUntilStarted(request.received)) void this.#freeAndRun(request);
      else this.#run(request, now);
      return;
    }
    const { delivery, received } = request;
    const unique = lockAtStart(received, delivery.queue, this.#deps.owner);
    this.#deps.settler.add({ delivery, end: ACK, results: NOTHING, publish: NOTHING, unique }, new EarlyAck(request, this));
  }

  /** What changes from here on is for another run of the task: its lock is free before it reads anything. */
  async #freeAndRun(request: Request): Promise<void> {
    const { settler, owner } = this.#deps;
    const { received, delivery } = request;
    const step = lockAtStart(received, delivery.queue, owner);
    await settler.step(step === undefined ? NOTHING : [step]).catch(() => undefined); // the worker has stopped
    const now = this.clock.monotonic();
    if (request.verdict !== undefined) return this.ended(request, request.verdict);
    if (this.#isStopped || !this.#deps.mayStart(now)) return this.ended(request, { kind: "interrupted" });
    this.#run(request, now);
  }

  /** The broker has answered to an early ack. */
  ackedEarly(request: Request, answer: SettlementAnswer): void {
    this.#deps.credit.freeLoan();
    const now = this.clock.monotonic();
    if (answer === "settled") {
      request.isAcked = true;
      if (request.verdict?.kind === "revoked") return this.ended(request, request.verdict);
      if (!this.#isStopped) return this.#run(request, now);
      // Too late to start and too late to give it back: recorded, so that nobody waits for it for ever.
      return this.ended(request, { kind: "interrupted" });
    }
    if (answer === "lost") this.#deps.observers.lost(request);
    this.#leaveSlot(request);
  }

  #run(request: Request, now: number): void {
    this.#begin(request, now);
    this.#deps.lanes.of(request).pool.run(request);
  }

  #begin(request: Request, now: number): void {
    request.startedAt = now;
    this.#processed += 1;
    this.#deps.observers.started(request);
    if (request.options.trackStarted && !this.#ignoresResult(request))
      void this.storeState(request, "STARTED", { pid: process.pid, hostname: this.hostname });
  }

  #ignoresResult(request: Request): boolean {
    return request.received.ignoreResult ?? request.options.ignoreResult;
  }

  // --- to its end --------------------------------------------------------------------------------------------------

  ended(request: Request, reported: Outcome): void {
    this.#endings.ended(request, reported);
  }

  /** It does not run: expired, revoked. What it was made of ends before it. */
  endUnrun(request: Request, outcome: Outcome): void {
    if (isAggregate(request)) void this.#crews.endCalls(request, outcome).then(() => this.#endings.endUnrun(request, outcome));
    else this.#endings.endUnrun(request, outcome);
  }

  settled(request: Request, answer: SettlementAnswer): void {
    this.#endings.settled(request, answer);
  }

  storeState(request: Request, state: string, meta: unknown): Promise<void> {
    return this.tasks.storeState(request, state, meta);
  }

  checkpoint(request: Request, text: string): Promise<void> {
    return this.tasks.checkpoint(request, text);
  }

  softLimitReached(request: Request, limitMs: number): void {
    this.#deps.observers.softLimitReached(request, limitMs);
  }

  #leaveSlot(request: Request): void {
    if (request.crew?.leave() === false) {
      this.tasks.delete(request);
      return this.#deps.left?.(request); // others of its batch still run
    }
    if (this.tasks.delete(request)) this.#deps.lanes.of(request).running -= 1;
    if (request.outcome === undefined) this.#deps.suspectTurn.free(request); // it never began
    this.#deps.credit.freeSlot();
    this.#deps.left?.(request);
    if (this.tasks.size === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
    this.pump();
  }

  /** Ends what waits for a slot and is revoked. Returns it. */
  discardWaiting(isRevoked: (request: Request) => boolean): ReceivedTask[] {
    const suspects = this.#suspects.takeWhere(isRevoked);
    for (const _ of suspects) this.#deps.credit.wantSlot();
    const collected = this.#crews.takeCollected(isRevoked);
    for (const _ of collected) this.#deps.credit.wantSlot();
    for (const _ of collected) this.#deps.credit.wantLoan();
    const isAlone = (request: Request): boolean => request.crew === undefined && isRevoked(request); // of a batch, each is looked at when it starts
    const requests = [...suspects, ...collected, ...this.#deps.lanes.all.flatMap(({ ready }) => ready.takeWhere(isAlone))];
    for (const request of requests) this.endUnrun(request, { kind: "revoked", how: "revoked" });
    return requests.map(({ received }) => received);
  }

  // --- when the lease is lost, and at the end ----------------------------------------------------------------------

  /** All loans made until now are others'. What runs is told to stop; what waits goes, fenced, to where it may still belong. */
  leaseLost(): void {
    this.tasks.leaseLost();
    this.putBackWaiting();
  }

  /** Gives back what has not started, all or what matches, the earliest to the very front. */
  putBackWaiting(isMeant: (request: Request) => boolean = () => true): void {
    const holds = (request: Request): boolean => request.crew?.members.some(isMeant) ?? isMeant(request);
    const ready = this.#deps.lanes.all.flatMap((lane) => this.#crews.dissolved(lane.ready.takeWhere(holds)));
    const suspects = this.#suspects.takeWhere(isMeant);
    const collected = this.#crews.takeCollected(isMeant);
    for (const _ of ready) this.#deps.credit.freeSlot();
    for (const _ of collected) this.#deps.credit.wantLoan();
    this.putBack([...suspects, ...ready, ...collected]);
  }

  putBack(requests: readonly Request[]): void {
    for (const request of requests.toReversed()) {
      this.#deps.left?.(request);
      this.#deps.settler.add(
        { delivery: request.delivery, end: PUT_BACK, results: NOTHING, publish: NOTHING },
        new PutBack(request, this.#deps),
      );
    }
  }

  /** No body starts any more; what waits is given back. */
  stopStarting(): void {
    this.#isStopped = true;
    this.#surplus?.cancel();
    this.putBackWaiting();
  }

  whenIdle(): Promise<void> {
    if (this.tasks.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Gives up what still runs. Returns how many that were. */
  interruptRunning(): number {
    const requests = this.tasks.unended;
    for (const request of requests) this.#endings.interrupt(request);
    return requests.length;
  }
}

class EarlyAck implements SettlementOwner {
  readonly #request: Request;
  readonly #home: Dispatcher;

  constructor(request: Request, home: Dispatcher) {
    this.#request = request;
    this.#home = home;
  }

  settled(answer: SettlementAnswer): void {
    this.#home.ackedEarly(this.#request, answer);
  }
}

class PutBack implements SettlementOwner {
  readonly #request: Request;
  readonly #deps: DispatcherDeps;

  constructor(request: Request, deps: DispatcherDeps) {
    this.#request = request;
    this.#deps = deps;
  }

  settled(answer: SettlementAnswer): void {
    this.#deps.credit.freeLoan();
    if (answer === "settled") this.#deps.observers.setAside(this.#request, "putBack");
  }
}
