/**
 * One run of the simulation: a server, several workers and a producer under the faults of one seed, then a time in which
 * all is well, in which everything must come to its end.
 */
import type { Lovage } from "../../src/app/app.ts";
import { PublishFailedError, PublishTimeoutError } from "../../src/app/errors.ts";
import { Worker } from "../../src/worker/worker.ts";
import { Chance } from "./chance.ts";
import { type Client, makeClient } from "./client.ts";
import { Driver, DriverBackend } from "./driver.ts";
import { type GuardHome, guardHomes, holder } from "./guard-stand-in.ts";
import { type Kind, Ledger, type Plan } from "./ledger.ts";
import { type Faults, Process } from "./process.ts";
import { type Mutation, Server } from "./server.ts";
import { defineTasks, makeApp, QUEUES, type Times } from "./tasks.ts";
import { World } from "./world.ts";

export interface Report {
  readonly seed: number;
  readonly profile: Profile;
  readonly steps: number;
  readonly tasks: number;
  readonly runs: number;
  readonly deaths: number;
  readonly leasesLost: number;
  /** Of all that happened, in order: equal for two runs that were the same. */
  readonly digest: number;
}

export class SimulationFailure extends Error {
  constructor(seed: number, profile: Profile, cause: unknown, trace: string) {
    const text = cause instanceof Error ? `${cause.message}\n${cause.stack?.split("\n").slice(1, 6).join("\n")}` : String(cause);
    super(`LOVAGE_SEED=${seed} (${profile}): ${text}\n--- the last steps\n${trace}\n--- replay it with LOVAGE_SEED=${seed}`, { cause });
  }
}

type Profile = "calm" | "deaths" | "network" | "stops" | "everything";
const PROFILES: Readonly<Record<Profile, number>> = { calm: 1, deaths: 2, network: 2, stops: 1, everything: 4 };

const KINDS: Readonly<Record<Kind, number>> = {
  quick: 10, slow: 8, long: 3, fails: 3, retries: 5, early: 4, earlyRetries: 2, ignores: 2, requeues: 2, rejects: 2, poison: 1, blocks: 1,
  timesOut: 2, unknown: 1, expires: 3, later: 6, tells: 3, hooked: 3, limited: 2, garbage: 1,
}; // prettier-ignore

const TRACE_LINES = Number(process.env["LOVAGE_TRACE"] ?? 120);
const MOST_STEPS = 400_000;
/** Poison costs a lease and more for each of its deliveries, one poison after the other. */
const DRAINED_WITHIN_MS = 600_000;
/** Less than the shortest grace. */
const GIVEN_BACK_WITHIN_MS = 800;

interface Member {
  readonly process: Process;
  readonly app: Lovage;
  readonly driver: Driver;
  readonly worker: Worker;
}

export async function simulate(seed: number, mutation?: Mutation): Promise<Report> {
  const chance = new Chance(seed);
  const profile = chance.weighted(PROFILES);
  const world = new World(chance);
  const giveBack = world.takeImmediates();
  const simulation = new Simulation(world, profile, mutation);
  holder.world = world;
  guardHomes.clear();
  const onRejection = (reason: unknown): void => simulation.fail(reason);
  process.on("unhandledRejection", onRejection);
  try {
    await simulation.run();
    return { seed, profile, steps: world.steps, ...simulation.figures, digest: world.digest };
  } catch (error) {
    throw new SimulationFailure(seed, profile, simulation.ledger.broken ?? error, world.trace(TRACE_LINES));
  } finally {
    process.off("unhandledRejection", onRejection);
    giveBack();
  }
}

class Simulation {
  readonly ledger: Ledger;
  readonly #world: World;
  readonly #chance: Chance;
  readonly #profile: Profile;
  readonly #times: Times;
  readonly #faults: Faults;
  readonly #server: Server;
  readonly #isOneStore: boolean;
  readonly #members: (Member | undefined)[] = [];
  readonly #endings: Promise<unknown>[] = [];
  #isHealed = false;
  #names = 0;
  #sent = 0;
  #deaths = 0;
  #failure: unknown;

  constructor(world: World, profile: Profile, mutation: Mutation | undefined) {
    const { chance } = world;
    this.#world = world;
    this.#chance = chance;
    this.#profile = profile;
    const leaseMs = chance.pick([1000, 2000, 4000]);
    this.#times = { leaseMs, graceMs: chance.pick([1000, 3000]), parkMs: 2000, unknownMs: 6000, maxDeliveries: chance.whole(3, 5) };
    this.ledger = new Ledger(world, leaseMs, this.#times.maxDeliveries);
    const isLossy = profile === "network" || profile === "everything";
    const isDeadly = profile === "deaths" || profile === "everything";
    this.#faults = {
      loss: isLossy ? chance.pick([30, 100, 400]) : 0,
      death: isDeadly ? chance.pick([300, 1000]) : 0,
      slowestMs: leaseMs / 10,
    };
    this.#server = new Server(world, this.ledger, mutation);
    this.ledger.server = this.#server;
    this.#isOneStore = !chance.one(3);
  }

  get figures(): { tasks: number; runs: number; deaths: number; leasesLost: number } {
    const plans = [...this.ledger.plans.values()];
    const runs = plans.reduce((sum, { runs }) => sum + runs.length, 0);
    return { tasks: plans.length, runs, deaths: this.#deaths, leasesLost: this.ledger.losses };
  }

  fail(reason: unknown): void {
    this.#failure ??= reason;
  }

  async run(): Promise<void> {
    const { chance } = this.#world;
    const workers = chance.whole(1, 4);
    for (let slot = 0; slot < workers; slot++) this.#birth(slot);
    const client = makeClient(this.#world, this.#server, this.#faults, this.#times);
    const tasks = chance.pick([20, 60, 150]);
    const lengthMs = chance.between(5000, 30_000);
    for (let i = 0; i < tasks; i++) this.#world.schedule(chance.between(0, lengthMs), client.process.main, () => this.#send(client));
    this.#planFault();
    await this.#until(lengthMs, () => false);
    await this.#heal();
    await this.#drain();
    await this.#settleDown();
    await this.#stopAll();
    await this.ledger.checkEnd();
    this.#checkGarbage();
  }

  // --- processes -----------------------------------------------------------------------------------------------------

  #birth(slot: number): void {
    const world = this.#world;
    const process = new Process(world, `w${slot}.${++this.#names}`, this.#faults);
    this.ledger.processes.push(process);
    const driver = new Driver(process, this.#server, this.#isOneStore);
    const home: GuardHome = { world, process, broker: new Driver(process, this.#server, this.#isOneStore) };
    guardHomes.set(process.main, home);
    process.onDeath = () => {
      this.#deaths += 1;
      this.#members[slot] = undefined;
      world.schedule(this.#chance.between(10, 1500), undefined, () => this.#birth(slot));
    };
    world.current.run(process.main, () => {
      const app = makeApp(process, this.#times);
      app.broker = async () => driver;
      const backend = new DriverBackend(process, this.#server);
      app.backend = async () => backend;
      defineTasks(app, world, process, this.ledger, this.#times);
      const worker = new Worker(app, { name: `${process.label}@sim`, queues: QUEUES, concurrency: this.#chance.whole(1, 6) });
      this.#members[slot] = { process, app, driver, worker };
      world.note("starts");
      worker.start().then(
        () => world.note("consumes"),
        (error: unknown) => {
          if (!process.isStopping) this.fail(error);
        },
      );
    });
  }

  /** Resolves when the worker has stopped; then its process ends and another takes its place. */
  async #stop(slot: number, member: Member, how: "warm" | "cold"): Promise<void> {
    const { process, worker } = member;
    const world = this.#world;
    process.isStopping = true;
    process.lastFaultAt = Number.POSITIVE_INFINITY; // what it does not give back in time is swept
    const since = world.now;
    const { graceMs } = this.#times;
    const overdue = (): void => {
      const { lastTroubleAt } = process;
      if (process.isDead) return;
      const leftMs = lastTroubleAt + patienceMs - world.now;
      if (leftMs > 1) deadline = world.schedule(leftMs, undefined, overdue);
      else this.fail(new Error(`${process.label} does not stop: ${JSON.stringify(worker.status())}`));
    };
    const patienceMs = graceMs + 2000 + 1000 + 300 + 500 + 20_000;
    let deadline = world.schedule(patienceMs, undefined, overdue);
    world.schedule(GIVEN_BACK_WITHIN_MS, undefined, () => this.#checkGivenBack(process, since));
    const stopping = world.current.run(process.main, () => {
      world.note(`is told to stop (${how})`);
      return worker.stop(how);
    });
    await stopping;
    deadline.cancel();
    world.note(`${process.label} has stopped after ${(world.now - since).toFixed(0)} ms`);
    if (process.main.timers > 0) this.fail(new Error(`${process.label} has stopped, and ${process.main.timers} of its timers have not`));
    if (process.isDead) return;
    process.onDeath = () => undefined;
    process.kill("it has stopped");
    this.#members[slot] = undefined;
    if (!this.#isEnding) world.schedule(this.#chance.between(10, 500), undefined, () => this.#birth(slot));
  }

  /** For a while it takes nothing. */
  #quiet({ process, worker }: Member): void {
    const world = this.#world;
    const since = world.now;
    const run = (what: "quiet" | "resume"): void =>
      void world.current.run(process.main, () => {
        world.note(`is told to ${what === "quiet" ? "be quiet" : "resume"}`);
        return worker[what]();
      });
    run("quiet");
    world.schedule(GIVEN_BACK_WITHIN_MS, undefined, () => {
      if (worker.status().state === "quiet") this.#checkGivenBack(process, since);
    });
    world.schedule(this.#chance.between(10, 3 * this.#times.leaseMs), process.main, () => run("resume"));
  }

  #isEnding = false;

  /** What a stopping worker has not started must not wait for what it has: it is back in its queues at once. */
  #checkGivenBack(process: Process, since: number): void {
    if (process.isDead || process.lastTroubleAt >= since - 2 * GIVEN_BACK_WITHIN_MS) return;
    const kept = this.#server.store.all.find(
      ({ where, owner, isStarted, lentAt }) => where === "onLoan" && owner === process.owner && !isStarted && lentAt < since,
    );
    if (kept)
      this.ledger.break(
        `${process.label} was told to stop ${GIVEN_BACK_WITHIN_MS} ms ago and keeps ${kept.taskId}, which it has not started`,
      );
  }

  // --- a producer ----------------------------------------------------------------------------------------------------

  #send({ process, calls, driver }: Client): void {
    const { chance } = this.#world;
    let kind = chance.weighted(KINDS);
    if (kind === "poison" && (this.#profile === "calm" || this.#profile === "network" || this.#profile === "stops")) kind = "quick";
    const id = `${kind}-${++this.#sent}`;
    const queue = chance.pick(QUEUES);
    if (kind === "garbage") {
      driver.inject(queue, `{"id": "${id}", "body": `);
      return;
    }
    const retries = kind === "retries" || kind === "earlyRetries" ? chance.whole(1, 3) : 0;
    const now = process.clock.now();
    const etaAt = kind === "later" ? now + Math.floor(chance.pick([50, 500, 1900, 2500, 9000]) * chance.next()) : undefined;
    const expiresAt = kind === "expires" ? now + chance.whole(1, 3000) : undefined;
    const plan: Plan = { id, kind, retries, etaAt, expiresAt, fate: "open", runs: [] };
    this.ledger.plans.set(id, plan);
    this.#world.note(`sends ${id}`);
    const options = {
      taskId: id,
      queue,
      priority: chance.pick([0, 0, 0, 3, 9]),
      ...(etaAt !== undefined && { eta: new Date(etaAt) }),
      ...(expiresAt !== undefined && { expires: new Date(expiresAt) }),
    };
    calls.send({ name: `sim.${kind}`, defaults: {} }, [retries], undefined, options).then(
      () => void (plan.fate = "held"),
      (error: unknown) => {
        if (error instanceof PublishFailedError || error instanceof PublishTimeoutError) plan.fate = error.calls[0]?.fate ?? "unknown";
        else this.fail(error);
      },
    );
  }

  // --- faults --------------------------------------------------------------------------------------------------------

  #planFault(): void {
    if (this.#profile === "calm") return;
    const { chance } = this.#world;
    this.#world.schedule(chance.between(100, 3000), undefined, () => {
      if (this.#isHealed) return;
      this.#fault();
      this.#planFault();
    });
  }

  #fault(): void {
    const { chance } = this.#world;
    const slot = chance.whole(0, this.#members.length - 1);
    const member = this.#members[slot];
    if (member === undefined) return;
    const { process } = member;
    const { leaseMs } = this.#times;
    const all = {
      deaths: ["kill"],
      network: ["cut", "outage", "jump"],
      stops: ["freeze", "stop", "block", "quiet"],
      calm: ["jump"],
    } as const;
    const kinds = this.#profile === "everything" ? [...all.deaths, ...all.network, ...all.stops] : all[this.#profile];
    switch (chance.pick<string>(kinds)) {
      case "kill":
        return process.kill("SIGKILL");
      case "cut":
        return process.cut(chance.between(10, 3 * leaseMs));
      case "outage": {
        const forMs = chance.between(10, 3 * leaseMs);
        for (const each of this.#members) each?.process.cut(forMs);
        return;
      }
      case "freeze":
        return process.stop(chance.between(10, 3 * leaseMs), "all");
      case "block":
        return process.stop(chance.between(10, 3 * leaseMs), "main");
      case "jump":
        return process.jump(chance.pick([-1, 1]) * chance.between(1, 20_000));
      case "quiet":
        return this.#quiet(member);
      case "stop":
        if (!process.isStopping) this.#endings.push(this.#stop(slot, member, chance.one(4) ? "cold" : "warm"));
        else if (chance.one(2)) void this.#world.current.run(process.main, () => member.worker.stop());
        return;
    }
  }

  /** From now on nothing goes wrong any more; what is wrong already runs its course. */
  async #heal(): Promise<void> {
    this.#world.note("ALL IS WELL from now on");
    this.#isHealed = true;
    this.#faults.loss = 0;
    this.#faults.death = 0;
    await this.#until(this.#world.now + 3 * this.#times.leaseMs + 2000, () => false);
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  async #drain(): Promise<void> {
    const deadline = this.#world.now + DRAINED_WITHIN_MS;
    const isOver = (): boolean => this.ledger.isDrained && [...this.ledger.plans.values()].every(({ fate }) => fate !== "open");
    if (!(await this.#until(deadline, isOver))) throw new Error(`not drained ten minutes after all is well: ${this.ledger.stuck()}`);
  }

  /** Idle workers count nothing as busy. */
  async #settleDown(): Promise<void> {
    await this.#until(this.#world.now + 10_000, () => false);
    for (const member of this.#members) {
      if (member === undefined) continue;
      const { running, waiting, scheduled, onLoan, consuming } = member.worker.status();
      const { busy, held } = member.driver.credit ?? { busy: -1, held: -1 };
      if (running || waiting || scheduled || onLoan || busy || held || !consuming)
        throw new Error(`${member.process.label} is idle and believes ${JSON.stringify({ ...member.worker.status(), busy, held })}`);
    }
  }

  async #stopAll(): Promise<void> {
    this.#isEnding = true;
    let left = 0;
    for (const [slot, member] of this.#members.entries()) {
      if (member === undefined || member.process.isStopping) continue;
      left += 1;
      void this.#stop(slot, member, "warm").then(() => (left -= 1));
    }
    if (!(await this.#until(this.#world.now + 40_000, () => left === 0))) throw new Error("workers do not stop");
  }

  #checkGarbage(): void {
    for (const { taskId, where, deadFor } of this.#server.store.all)
      if (taskId === undefined && (where !== "dead" || !/undecodable|poison/.test(deadFor?.reason ?? "")))
        throw new Error(`what cannot be decoded is ${where}`);
  }

  // --- steps ---------------------------------------------------------------------------------------------------------

  /** Goes on until that time, or until `isOver`: true then. */
  async #until(time: number, isOver: () => boolean): Promise<boolean> {
    for (;;) {
      if (isOver()) return true;
      if (!(await this.#world.step(time))) {
        this.#world.now = Math.max(this.#world.now, time);
        return isOver();
      }
      this.#check();
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.ledger.check();
    if (this.#world.steps > MOST_STEPS) throw new Error(`it never ends: ${MOST_STEPS} steps`);
    for (const member of this.#members) {
      const credit = member?.driver.credit;
      if (member === undefined || credit === undefined) continue;
      if (credit.held < 0 || credit.busy < 0) throw new Error(`${member.process.label} counts ${credit.busy} busy, ${credit.held} held`);
    }
  }
}
