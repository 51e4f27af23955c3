/** What was asked for, what ran, and what must hold of it. Everything that must never happen is a `Broken` thrown from here. */
import type { SettleAnswer, Settlement } from "../../src/brokers/broker.ts";
import type { TaskContext } from "../../src/app/task-context.ts";
import type { Process } from "./process.ts";
import type { Server } from "./server.ts";
import { Broken, NUMBER_HEADER, type Tracked } from "./watched-store.ts";
import type { World } from "./world.ts";

export type Kind =
  | "quick" | "slow" | "long" | "fails" | "retries" | "early" | "earlyRetries" | "ignores" | "requeues" | "rejects" | "poison" | "blocks"
  | "timesOut" | "unknown" | "expires" | "later" | "tells" | "hooked" | "limited" | "garbage"; // prettier-ignore

export interface Plan {
  readonly id: string;
  readonly kind: Kind;
  /** Attempts before it succeeds. */
  readonly retries: number;
  /** By the broker's clock. */
  readonly etaAt: number | undefined;
  readonly expiresAt: number | undefined;
  /** What its producer was told. */
  fate: "open" | "held" | "refused" | "unknown";
  readonly runs: Run[];
}

export interface Run {
  readonly process: Process;
  readonly attempt: number;
  end: string | undefined;
}

/** Clocks drift a little between two looks at the broker's. */
const TOLERANCE_MS = 40;
const EARLY: ReadonlySet<Kind> = new Set<Kind>(["early", "earlyRetries"]);

export class Ledger {
  readonly plans = new Map<string, Plan>();
  readonly processes: Process[] = [];
  readonly #world: World;
  readonly #leaseMs: number;
  readonly #maxDeliveries: number;
  server!: Server;
  /** What broke first. Kept as well as thrown: a worker may catch what its broker or a task throws. */
  broken: Broken | undefined;
  losses = 0;

  constructor(world: World, leaseMs: number, maxDeliveries: number) {
    this.#world = world;
    this.#leaseMs = leaseMs;
    this.#maxDeliveries = maxDeliveries;
  }

  break(what: string): never {
    this.broken ??= new Broken(what);
    throw this.broken;
  }

  // --- while it runs -------------------------------------------------------------------------------------------------

  /** A body begins. Undefined in a process that is dead. */
  begin(process: Process, ctx: TaskContext): Run | undefined {
    if (process.isDead) return undefined;
    const { server } = this;
    const plan = this.plans.get(ctx.id);
    if (plan === undefined) this.break(`a task ran that nobody sent: ${ctx.id}`);
    this.#world.note(`begins ${ctx.id} (${plan.kind}, attempt ${ctx.retries})`);
    const isEarly = EARLY.has(plan.kind);
    const own = server.store.all[ctx.headers[NUMBER_HEADER] as number];
    const mayBegin =
      own && (isEarly ? own.where === "gone" && own.starts === 0 : own.where === "onLoan" && own.owner === process.owner && !own.isStarted);
    const message = mayBegin ? own : undefined;
    if (message === undefined)
      this.break(`${ctx.id} (${plan.kind}) begins in ${process.label} without a loan: ${own ? describe(own) : "no message"}`);
    const { leaseEnds = 0 } = server.store.worker(process.owner as string);
    if (!isEarly && leaseEnds <= server.clock.monotonic()) this.break(`${ctx.id} begins in ${process.label}, whose lease has run out`);
    message.isStarted = true;
    message.starts += 1;
    if (message.starts > 1 + message.ended) this.break(`${ctx.id} begins once more, and its loan never ended`);
    const now = server.clock.now();
    const toleranceMs = message.lentAt < process.clockRightSince ? Number.POSITIVE_INFINITY : process.clockErrorMs + TOLERANCE_MS;
    if (plan.etaAt !== undefined && ctx.retries === 0 && now < plan.etaAt - toleranceMs)
      this.break(`${ctx.id} begins ${plan.etaAt - now} ms before its time`);
    if (plan.expiresAt !== undefined && now > plan.expiresAt + toleranceMs)
      this.break(`${ctx.id} begins ${now - plan.expiresAt} ms after it expired`);
    const run: Run = { process, attempt: ctx.retries, end: undefined };
    plan.runs.push(run);
    return run;
  }

  end(run: Run, how: string): void {
    if (run.process.isDead) return;
    run.end = how;
  }

  /** The broker has executed a batch of settlements. `gone`: what it took out of loans and put nowhere. */
  settled(
    settlements: readonly Settlement[],
    messages: readonly (Tracked | undefined)[],
    answers: readonly SettleAnswer[],
    gone: readonly Tracked[],
  ): void {
    const acknowledged = new Set<Tracked>();
    for (const [i, { end }] of settlements.entries()) {
      const message = messages[i];
      if (answers[i] !== "settled") continue;
      if (message === undefined) this.break("a loan was settled that is none");
      const plan = this.plans.get(message.taskId ?? "");
      if (end.kind === "ack") {
        acknowledged.add(message);
        const isExpired = plan?.expiresAt !== undefined;
        if (plan && message.starts === 0 && !EARLY.has(plan.kind) && !isExpired)
          this.break(`${plan.id} (${plan.kind}) was acknowledged and never began`);
        if (plan && EARLY.has(plan.kind) && message.starts > 0) this.break(`${plan.id} began before its early acknowledgement`);
      }
    }
    for (const message of gone) if (!acknowledged.has(message)) this.break(`${message.taskId} is gone and was not acknowledged`);
    for (const message of acknowledged) if (!gone.includes(message)) this.break(`${message.taskId} was acknowledged and is not gone`);
  }

  leaseLost(owner: string): void {
    this.losses += 1;
    const process = this.processes.find((one) => one.owner === owner);
    if (process === undefined || process.isDead) return;
    const sinceMs = this.#world.now - process.lastFaultAt;
    if (sinceMs > 2 * this.#leaseMs) this.break(`${process.label} lost its lease, and nothing was wrong with it`);
  }

  /** Cheap; after each step. */
  check(): void {
    if (this.broken) throw this.broken;
  }

  // --- at the end ----------------------------------------------------------------------------------------------------

  get isDrained(): boolean {
    return this.server.store.all.every(({ where }) => where === "gone" || where === "dead");
  }

  stuck(): string {
    return this.server.store.all
      .filter(({ where }) => where !== "gone" && where !== "dead")
      .map(describe)
      .join(", ");
  }

  async checkEnd(): Promise<void> {
    for (const plan of this.plans.values()) await this.#checkPlan(plan);
  }

  async #checkPlan(plan: Plan): Promise<void> {
    const { id, kind, fate, runs } = plan;
    const messages = this.server.store.byTask.get(id) ?? [];
    if (fate === "open") this.break(`nobody was told what became of sending ${id}`);
    if (fate === "refused" && messages.length > 0) this.break(`the broker holds ${id}, and its sender was told that it was refused`);
    if (fate === "held" && messages.length === 0) this.break(`the broker does not hold ${id}, and its sender was told that it does`);
    if (messages.filter(({ retries }) => retries === 0).length > 1) this.break(`${id} was sent once and is there twice`);
    if (messages.length === 0) return;
    const letters = messages.flatMap(({ deadFor, losses }) => (deadFor ? [{ reason: deadFor.reason, losses }] : []));
    for (const { reason, losses } of letters) {
      if (reason === "poison" && losses < this.#maxDeliveries) this.break(`${id} is dead as poison after ${losses} losses`);
      if (reason !== "poison" && reason !== REASONS[kind]) this.break(`${id} (${kind}) is dead: ${reason}`);
    }
    const ended = runs.map(({ end }) => end);
    const isDeadPoison = letters.some(({ reason }) => reason === "poison");
    if (kind === "poison") {
      if (!isDeadPoison) this.break(`${id} kills workers and is not dead`);
      if (runs.length > this.#maxDeliveries) this.break(`${id} killed ${runs.length} workers`);
      this.#checkPoisonTold(plan, letters, await this.#stateOf(id));
      return;
    }
    if (kind === "garbage" || kind === "unknown") {
      if (letters.length === 0) this.break(`${id} (${kind}) vanished`);
      return;
    }
    if (kind === "rejects" && letters.length === 0) this.break(`${id} was rejected and is no dead letter`);
    if (EARLY.has(kind)) {
      for (let attempt = 0; attempt <= plan.retries; attempt++)
        if (runs.filter((run) => run.attempt === attempt).length > messages.filter(({ retries }) => retries === attempt).length)
          this.break(`${id} was acknowledged early and ran twice`);
      return;
    }
    const state = await this.#stateOf(id);
    if (isDeadPoison) {
      this.#checkPoisonTold(plan, letters, state);
      return;
    }
    if (kind === "expires" && state === "REVOKED") return;
    const expected = OUTCOMES[kind] ?? { end: "done", state: "SUCCESS" };
    if (!ended.includes(expected.end)) this.break(`${id} (${kind}) never came to its end: ${ended.join(", ") || "it never began"}`);
    if (state !== expected.state) this.break(`${id} (${kind}) is recorded as ${state}, and ended as ${ended.join(", ")}`);
  }

  async #stateOf(id: string): Promise<string | undefined> {
    const document = (await this.server.backend.fetch([id]))[0];
    return document === undefined ? undefined : (JSON.parse(String(document)) as { status: string }).status;
  }

  /** Only what killed workers as they looked at it was buried by a sweep, which tells nobody; and a SUCCESS that was stored before stays. */
  #checkPoisonTold(
    { id }: Plan,
    letters: readonly { readonly reason: string; readonly losses: number }[],
    state: string | undefined,
  ): void {
    const buriedBySweep = this.#maxDeliveries + 2;
    const isTold = state === "FAILURE" || state === "SUCCESS" || state === "REVOKED";
    if (!isTold && letters.every(({ losses }) => losses < buriedBySweep)) this.break(`${id} is dead as poison, and recorded as ${state}`);
  }
}

const REASONS: Partial<Record<Kind, string>> = { rejects: "rejected", unknown: "unknownTask", garbage: "undecodable" };
const OUTCOMES: Partial<Record<Kind, { readonly end: string; readonly state: string | undefined }>> = {
  fails: { end: "failed", state: "FAILURE" },
  ignores: { end: "ignored", state: undefined },
  rejects: { end: "rejected", state: "FAILURE" },
  timesOut: { end: "hangs", state: "FAILURE" },
};

function describe({ taskId, retries, where, owner, starts, ended, losses }: Tracked): string {
  return `${taskId}/${retries} is ${where}${owner ? ` of ${owner}` : ""} (starts ${starts}, returned ${ended}, losses ${losses})`;
}
