/**
 * What runs, and what is done to it while it does: its states and checkpoints are written, it is asked to end, or made to.
 */
import type { Checkpoints } from "../brokers/broker.ts";
import { SoftTimeLimitExceeded, TaskRevokedError } from "../protocol/celery-errors.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Clock } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { Roster } from "../shared/roster.ts";
import { continuation } from "./continuation.ts";
import type { SettlementRules } from "./ended-run.ts";
import type { Lanes } from "./lanes.ts";
import { LeaseLostError, WorkerStoppedError } from "./outcome.ts";
import type { AbortForce } from "./pool/pool.ts";
import type { Request } from "./request.ts";
import { writeOfState } from "./result-plan.ts";
import type { StateWriter } from "./state-writer.ts";
import type { Termination } from "./termination.ts";

export interface RunningTasksDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lanes: Lanes;
  /** undefined: no result backend. */
  readonly states: StateWriter | undefined;
  readonly rules: SettlementRules;
  /** undefined: a crash begins an iteration anew. */
  readonly checkpoints: Checkpoints | undefined;
}

/** A task that is to be terminated has this long to heed its signal. */
const TERMINATE_GRACE_MS = 1500;

export class RunningTasks {
  readonly #deps: RunningTasksDeps;
  readonly #running = new Roster<Request>();

  constructor(deps: RunningTasksDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#running.size;
  }

  add(request: Request): void {
    this.#running.add(request);
  }

  /** Whether it was there. */
  delete(request: Request): boolean {
    return this.#running.delete(request);
  }

  /** Begun, and not ended yet. */
  get unended(): readonly Request[] {
    return [...this.#running].filter((request) => request.startedAt !== undefined && request.outcome === undefined);
  }

  /** Never rejects: a task that does not wait for it must not bring the worker down. */
  async storeState(request: Request, state: string, meta: unknown): Promise<void> {
    const { states, rules, logger } = this.#deps;
    if (states === undefined || request.outcome !== undefined) return;
    try {
      request.pendingState = states.write(writeOfState(state, meta, request, rules));
    } catch (error) {
      logger.warn(
        { err: error, task: request.received.task, taskId: request.received.id },
        `the state ${state} of a task could not be written: ${errorText(error)}`,
      );
    }
    await request.pendingState;
  }

  /** Never rejects: what cannot be written now is written with the next one. */
  async checkpoint(request: Request, text: string): Promise<void> {
    const { checkpoints } = this.#deps;
    if (checkpoints === undefined || request.isAcked || request.outcome !== undefined) return;
    const { task, id } = request.received;
    try {
      const answer = await checkpoints.write(request.delivery, continuation(request.received, text));
      if (answer === "settled" || request.outcome !== undefined) return;
      request.verdict = { kind: "leaseLost" };
      this.#abort(request, new LeaseLostError());
    } catch (error) {
      this.#deps.logger.warn({ err: error, task, taskId: id }, `how far ${task}[${id}] has come could not be written: ${errorText(error)}`);
    }
  }

  /** Iterations that run end after the step that they are at; other tasks take no notice. */
  interruptIterations(): void {
    for (const request of this.#running)
      if (request.startedAt !== undefined && request.crew === undefined) this.#deps.lanes.of(request).pool.interrupt(request);
  }

  /** Aborts the signals of what runs; a task that then fails was revoked, one that succeeds all the same has succeeded. */
  revoke(isRevoked: (request: Request) => boolean): void {
    for (const request of this.#running) {
      if (!isRevoked(request)) continue;
      request.verdict ??= { kind: "revoked", how: "revoked" };
      this.#abort(request, new TaskRevokedError("revoked"), "none");
    }
  }

  /** Ends what runs, whether or not it heeds its signal. Returns it. */
  terminate(isMeant: (request: Request) => boolean, { signum, force }: Termination): ReceivedTask[] {
    const requests = [...this.#running].filter(isMeant);
    for (const request of requests) {
      if (force === "soft") {
        this.#abort(request, new SoftTimeLimitExceeded(), "none");
        continue;
      }
      if (request.verdict === undefined || request.verdict.kind === "revoked")
        request.verdict = { kind: "revoked", how: "terminated", signum };
      const reason = new TaskRevokedError("terminated");
      this.#abort(request, reason, force === "kill" ? "now" : "none");
      if (force === "ask") this.#deps.clock.timer(TERMINATE_GRACE_MS, () => this.#giveUp(request, reason), { background: true });
    }
    return requests.map(({ received }) => received);
  }

  #giveUp(request: Request, reason: Error): void {
    if (this.#running.has(request) && request.outcome === undefined) this.#abort(request, reason, "now");
  }

  /** A batch is aborted once all of it is to end. */
  #abort(request: Request, reason: Error, force?: AbortForce): void {
    if (force === "now" && request.startedAt === undefined) return; // its early ack is on the way: the verdict ends it then
    const { crew } = request;
    if (crew?.isToAbort !== false) this.#deps.lanes.of(request).pool.abort(crew ?? request, reason, force);
  }

  /** All loans made until now are others': what runs is told to stop. */
  leaseLost(): void {
    for (const request of this.#running) {
      if (request.isAcked || !request.options.acksLate) continue; // whether an early ack came in time the broker tells
      request.verdict = { kind: "leaseLost" };
      this.#abort(request, new LeaseLostError());
    }
  }

  /** Asks all that runs to end. A task that then fails goes back to its queue; one that succeeds all the same has succeeded. */
  abortAll(): void {
    for (const request of this.#running) {
      request.verdict ??= { kind: "interrupted" };
      this.#abort(request, new WorkerStoppedError());
    }
  }
}
