/**
 * Messages that run together: closed into a batch, brought to a slot as their first member, and begun as one run.
 *
 * While it waits, a batch counts as busy and as one loan. When it is started or dissolved, each member counts again, and ends for itself.
 */
import type { LoanEnd } from "../brokers/broker.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import { type CallRunsDeps, CallRuns, isAggregate } from "./aggregate-run.ts";
import { Crew } from "./crew.ts";
import type { DispatcherDeps } from "./dispatcher.ts";
import type { Endings } from "./endings.ts";
import { Gathering } from "./gathering.ts";
import type { Lane } from "./lanes.ts";
import type { Outcome } from "./outcome.ts";
import type { Request } from "./request.ts";
import type { RunningTasks } from "./running-tasks.ts";
import type { SettlementAnswer } from "./settle.ts";
import { lockAtStart } from "./unique-plan.ts";

/** What the dispatcher does for one request, whether it runs alone or not. */
export interface CrewsDeps extends DispatcherDeps {
  readonly home: CallRunsDeps["home"];
  readonly tasks: RunningTasks;
  readonly endings: Endings;
  /** Whether it is to run; if not, it ends there. */
  mayRun(request: Request): boolean;
  begin(request: Request, now: number): void;
  leaveSlot(request: Request): void;
  /** No body starts any more. */
  isStopped(): boolean;
  pump(): void;
}

const ACK: LoanEnd = { kind: "ack" };
const NOTHING: readonly never[] = [];

export class Crews {
  readonly #deps: CrewsDeps;
  readonly #gathering: Gathering;
  readonly #calls: CallRuns;

  constructor(deps: CrewsDeps) {
    this.#deps = deps;
    const { app, clock, credit, endings, home } = deps;
    this.#gathering = new Gathering({ clock, credit, closed: (members) => this.#enqueue(new Crew(members, home)) });
    this.#calls = new CallRuns({
      ...deps,
      accept: () => contentTypesFor(app.settings.acceptContent),
      judge: (call, reported) => endings.judgeCall(call, reported),
      settle: (call) => endings.settleCall(call),
    });
  }

  /** In batches that are open. */
  get collected(): number {
    return this.#gathering.size;
  }

  /** False for one that runs alone: it has a slot to wait for. */
  collects(request: Request): boolean {
    const { batch } = request.options;
    if (batch === undefined || isAggregate(request)) return false;
    this.#gathering.add(request, batch);
    return true;
  }

  /** Out of open batches. Counted as neither busy nor on loan. */
  takeCollected(isMeant: (request: Request) => boolean): readonly Request[] {
    return this.#gathering.takeWhere(isMeant);
  }

  /** The members of batches in the place of their first; each counts as busy and as a loan of its own again. */
  dissolved(requests: readonly Request[]): readonly Request[] {
    const { credit } = this.#deps;
    return requests.flatMap((request) => {
      const members = request.crew?.members ?? [request];
      for (const member of members) {
        if (member !== request) credit.wantSlot();
        if (member !== request) credit.wantLoan();
        member.crew = undefined;
      }
      return members;
    });
  }

  start(request: Request, lane: Lane, now: number): void {
    const { credit, endings, home, tasks } = this.#deps;
    const members = this.dissolved([request]).filter((member) => this.#deps.mayRun(member));
    if (members.length === 0) return;
    const crew = isAggregate(request) ? this.#calls.crewOf(request) : new Crew(members, home);
    if (!(crew instanceof Crew)) return void crew.then((outcome) => endings.endUnrun(request, outcome));
    for (const member of members) {
      member.crew = crew;
      tasks.add(member);
      if (member === crew.lead) continue;
      credit.freeSlot();
      credit.freeLoan();
    }
    lane.running += 1;
    if (request.options.acksLate) this.#run(crew, now);
    else void this.#ackAndRun(crew);
  }

  /** It does not run: the calls that it was made of end before it. */
  async endCalls(request: Request, outcome: Outcome): Promise<void> {
    await this.#calls.endAll(request, outcome);
  }

  #enqueue(crew: Crew): void {
    const { credit, lanes } = this.#deps;
    for (const member of crew.members) member.crew = crew;
    credit.wantSlot();
    credit.wantLoan();
    lanes.of(crew.lead).ready.push(crew.lead);
    this.#deps.pump();
  }

  #run(crew: Crew, now: number): void {
    for (const member of crew.members) this.#deps.begin(member, now);
    if (crew.items !== crew.members) for (const item of crew.items) this.#deps.begin(item, now);
    this.#deps.lanes.of(crew.lead).pool.run(crew);
  }

  async #ackAndRun(crew: Crew): Promise<void> {
    const { clock, credit, endings, home, observers, owner } = this.#deps;
    const ack = async ({ delivery, received }: Request): Promise<SettlementAnswer> =>
      await endings.perform({
        delivery,
        end: ACK,
        results: NOTHING,
        publish: NOTHING,
        unique: lockAtStart(received, delivery.queue, owner),
      });
    const answers = await Promise.all(crew.members.map(ack));
    credit.freeLoan();
    const left = crew.keep((member, i) => {
      member.isAcked = answers[i] === "settled";
      return member.isAcked && (member.verdict?.kind !== "revoked" || isAggregate(member));
    });
    const [lead] = crew.members;
    if (lead?.verdict?.kind === "revoked") crew.done(lead.verdict); // an aggregate, whose calls are to be told
    else if (lead !== undefined && this.#deps.isStopped()) crew.done({ kind: "interrupted" });
    else if (lead !== undefined) this.#run(crew, clock.monotonic());
    for (const member of left) {
      if (member.isAcked) home.ended(member, { kind: "revoked", how: "revoked" });
      else this.#deps.leaveSlot(member);
      if (!member.isAcked) observers.lost(member);
    }
  }
}
