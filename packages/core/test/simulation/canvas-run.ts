/**
 * One run of workflows in the simulation: some random trees, workers that die and are cut off, and in the end what was
 * published, and what is stored, must be what the truth table says: each once.
 */
import type { Lovage } from "../../src/app/app.ts";
import type { TaskContext } from "../../src/app/task-context.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { taskMark } from "../../src/app/revocation-marks.ts";
import { sleep } from "../../src/shared/clock.ts";
import { Worker } from "../../src/worker/worker.ts";
import {
  type Fate,
  predict,
  type Prediction,
  randomTree,
  signatureOf,
  tasksIn,
  told,
  type Tree,
  valueOf,
} from "../support/canvas-trees.ts";
import { Chance } from "./chance.ts";
import { makeClient } from "./client.ts";
import { Driver, DriverBackend, RevocableDriver } from "./driver.ts";
import { guardHomes, holder } from "./guard-stand-in.ts";
import { Ledger } from "./ledger.ts";
import { type Faults, Process } from "./process.ts";
import { Server } from "./server.ts";
import { makeApp, QUEUES, type Times } from "./tasks.ts";
import { World } from "./world.ts";

export interface CanvasReport {
  readonly trees: number;
  readonly tasks: number;
  readonly steps: number;
  readonly deaths: number;
  /** From the last end that a body waits for to its message, ms. */
  readonly slowestMs: number;
}

const NAMES = { run: "tree.run", errback: "tree.errback" };
const FATES: Readonly<Record<Fate, number>> = {
  succeeds: 60, fails: 3, rejects: 1, retries: 6, retriesThenFails: 1, timesOut: 1, expires: 1, revoked: 1, losesWorker: 2, losesWorkerEarly: 0,
}; // prettier-ignore
const GENTLE: Readonly<Partial<Record<Fate, number>>> = { succeeds: 60, retries: 6, losesWorker: 1 };
const TRACE_LINES = Number(process.env["LOVAGE_TRACE"] ?? 120);
const PUBLISHED_WITHIN_MS = 10_000;

export async function simulateTrees(seed: number): Promise<CanvasReport> {
  const chance = new Chance(seed);
  const world = new World(chance);
  const giveBack = world.takeImmediates();
  const run = new CanvasRun(world);
  holder.world = world;
  guardHomes.clear();
  const onRejection = (reason: unknown): void => run.fail(reason);
  process.on("unhandledRejection", onRejection);
  try {
    return await run.run();
  } catch (error) {
    const text = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
    throw new Error(`LOVAGE_SEED=${seed}: ${text}\n--- the last steps\n${world.trace(TRACE_LINES)}`, { cause: error });
  } finally {
    process.off("unhandledRejection", onRejection);
    giveBack();
  }
}

interface Sent {
  readonly tree: Tree;
  readonly prediction: Prediction;
}

class CanvasRun {
  readonly #world: World;
  readonly #chance: Chance;
  readonly #ledger: Ledger;
  readonly #server: Server;
  readonly #faults: Faults;
  readonly #times: Times;
  readonly #isOneStore: boolean;
  readonly #isCalm: boolean;
  readonly #workers: { readonly process: Process; readonly worker: Worker }[] = [];
  readonly #sent: Sent[] = [];
  readonly #published = new Map<string, number>();
  readonly #publishedAt = new Map<string, number>();
  readonly #calledWith = new Map<string, string>();
  readonly #endedAt = new Map<string, number>();
  readonly #killed = new Set<string>();
  readonly #revoked: string[] = [];
  #names = 0;
  #deaths = 0;
  #isEnding = false;
  #healedAt = Number.POSITIVE_INFINITY;
  #failure: unknown;

  constructor(world: World) {
    const { chance } = world;
    this.#world = world;
    this.#chance = chance;
    const leaseMs = chance.pick([1000, 2000]);
    this.#times = { leaseMs, graceMs: 1000, parkMs: 2000, unknownMs: 6000, maxDeliveries: 1000 };
    this.#ledger = new Ledger(world, leaseMs, 1000);
    this.#isCalm = chance.one(4);
    const isLossy = !this.#isCalm && chance.one(2);
    this.#faults = {
      loss: isLossy ? chance.pick([30, 100]) : 0,
      death: this.#isCalm ? 0 : chance.pick([0, 150, 500]),
      slowestMs: leaseMs / 10,
    };
    this.#server = new Server(world, this.#ledger);
    this.#ledger.server = this.#server;
    this.#isOneStore = !chance.one(4);
    this.#server.store.onAdded = (raw) => this.#noteMessage(raw);
  }

  fail(reason: unknown): void {
    this.#failure ??= reason;
  }

  async run(): Promise<CanvasReport> {
    const chance = this.#chance;
    const count = chance.pick([1, 2, 4]);
    for (let i = 0; i < count; i++) {
      const depth = chance.whole(1, 4);
      const isLarge = chance.one(20);
      const tree = randomTree(chance, { depth, maxNodes: isLarge ? 300 : 40, fates: chance.one(3) ? GENTLE : FATES, name: `x${i}` });
      this.#sent.push({ tree, prediction: predict(tree) });
    }
    const tasks = this.#sent.flatMap(({ tree }) => tasksIn(tree));
    this.#revoked.push(...tasks.filter(({ fate }) => fate === "revoked").map(({ id }) => id));
    const connection = this.#server.connect();
    await connection.revocations.add(this.#revoked.map(taskMark));
    for (const { id } of tasks)
      await this.#server.backend.watch(id, (document) => {
        const { status } = JSON.parse(String(document)) as { status: string };
        if (status !== "RETRY") this.#endedAt.set(id, Math.max(this.#endedAt.get(id) ?? 0, this.#world.now));
      });
    for (let slot = chance.whole(1, 3); slot > 0; slot--) this.#birth();
    await this.#send();
    this.#planFault();
    await this.#until(this.#world.now + chance.between(500, 8000), () => this.#isDone);
    this.#faults.loss = 0;
    this.#faults.death = 0;
    this.#healedAt = this.#world.now;
    const isDone = await this.#until(this.#world.now + 300_000, () => this.#isDone);
    await this.#until(this.#world.now + 15_000, () => false); // whatever comes too much comes now
    this.#isEnding = true;
    await this.#check();
    if (!isDone) throw new Error(`not done five minutes after all is well: ${this.#ledger.stuck()}`);
    const slowestMs = this.#slowest();
    await this.#stopAll();
    return { trees: count, tasks: tasks.length, steps: this.#world.steps, deaths: this.#deaths, slowestMs };
  }

  // --- workers -------------------------------------------------------------------------------------------------------

  #birth(): void {
    const world = this.#world;
    const process = new Process(world, `w${++this.#names}`, this.#faults);
    this.#ledger.processes.push(process);
    const driver = new RevocableDriver(process, this.#server, this.#isOneStore);
    guardHomes.set(process.main, { world, process, broker: new Driver(process, this.#server, this.#isOneStore) });
    process.onDeath = () => {
      this.#deaths += 1;
      if (!this.#isEnding) world.schedule(this.#chance.between(10, 1500), undefined, () => this.#birth());
    };
    world.current.run(process.main, () => {
      const app = makeApp(process, this.#times);
      app.broker = async () => driver;
      const backend = new DriverBackend(process, this.#server);
      app.backend = async () => backend;
      this.#defineTasks(app, process);
      const worker = new Worker(app, { name: `${process.label}@sim`, queues: QUEUES, concurrency: this.#chance.whole(1, 8) });
      this.#workers.push({ process, worker });
      worker.start().catch((error: unknown) => this.fail(error));
    });
  }

  #defineTasks(app: Lovage, process: Process): void {
    const wait = (mostMs: number): Promise<void> => sleep(process.uncounted, this.#chance.between(0, mostMs));
    app.task({
      name: NAMES.run,
      maxRetries: null,
      timeLimit: 0.5,
      run: async (ctx: TaskContext, ...args: readonly unknown[]): Promise<unknown> => {
        const [id, fate] = args.slice(-2) as [string, Fate];
        if (this.#chance.one(2)) await wait(100);
        this.#world.note(`runs ${id} (${fate})`);
        switch (fate) {
          case "fails":
            throw new Error("as planned");
          case "rejects":
            return ctx.reject("never");
          case "retries":
            if (ctx.retries < 2) ctx.retry({ countdown: this.#chance.pick([0, 0.2, 3]) });
            break;
          case "retriesThenFails":
            if (ctx.retries < 1) ctx.retry({ countdown: 0 });
            throw new Error("as planned");
          case "timesOut":
            return await new Promise(() => undefined);
          case "losesWorker":
            if (!this.#killed.has(id)) {
              this.#killed.add(id);
              process.kill("as planned");
              return await new Promise(() => undefined);
            }
            break;
          case "succeeds":
          case "losesWorkerEarly":
            break;
          case "revoked":
          case "expires":
            this.fail(new Error(`${id} runs, and it ${fate === "revoked" ? "was revoked" : "has expired"}`));
        }
        return valueOf(id, args.slice(0, -2));
      },
    });
    app.task(NAMES.errback, async (_failed: string, _label: string) => await wait(20));
  }

  #planFault(): void {
    if (this.#isCalm) return;
    this.#world.schedule(this.#chance.between(100, 2000), undefined, () => {
      if (this.#world.now >= this.#healedAt) return;
      const alive = this.#workers.filter(({ process }) => !process.isDead);
      const one = alive.length === 0 ? undefined : this.#chance.pick(alive);
      const { leaseMs } = this.#times;
      if (one !== undefined && this.#faults.loss > 0 && this.#chance.one(2)) one.process.cut(this.#chance.between(10, 2 * leaseMs));
      else if (one !== undefined && this.#chance.one(2)) one.process.stop(this.#chance.between(10, 2 * leaseMs), "all");
      else if (this.#faults.death > 0) one?.process.kill("SIGKILL");
      this.#planFault();
    });
  }

  // --- what is sent, and what comes of it ----------------------------------------------------------------------------

  async #send(): Promise<void> {
    const { process, app, calls } = makeClient(this.#world, this.#server, { ...this.#faults, loss: 0 }, this.#times);
    const backend = new DriverBackend(process, this.#server);
    app.backend = async () => backend;
    let left = this.#sent.length;
    for (const { tree } of this.#sent)
      this.#world.schedule(this.#chance.between(0, 500), process.main, () => {
        calls.sendSignature(signatureOf(tree, NAMES), [], {}, {}).then(
          () => void (left -= 1),
          (error: unknown) => this.fail(error),
        );
      });
    await this.#until(this.#world.now + 60_000, () => left === 0);
  }

  #noteMessage(raw: string | Uint8Array): void {
    const { message } = decodeEnvelope(raw);
    const { headers } = message;
    const [args] = JSON.parse(Buffer.from(message.body).toString()) as [unknown[]];
    if (headers["retries"] !== 0 && headers["retries"] !== undefined) return;
    const isErrback = headers["task"] === NAMES.errback;
    const what = isErrback ? `${String(args[1])} < ${String(args[0])}` : String(headers["id"]);
    this.#published.set(what, (this.#published.get(what) ?? 0) + 1);
    this.#publishedAt.set(what, Math.min(this.#publishedAt.get(what) ?? Infinity, this.#world.now));
    if (!isErrback) this.#calledWith.set(what, JSON.stringify(args.slice(0, -2)));
  }

  get #isDone(): boolean {
    if (!this.#ledger.isDrained) return false;
    return this.#sent.every(
      ({ prediction: { calls, errbacks } }) =>
        [...calls.keys()].every((id) => this.#published.has(id)) && [...errbacks].every((each) => this.#published.has(each)),
    );
  }

  async #check(): Promise<void> {
    const wrong: string[] = [];
    const expected = new Set<string>();
    for (const { tree, prediction } of this.#sent) {
      const { calls, errbacks, states } = prediction;
      const before = wrong.length;
      for (const what of [...calls.keys(), ...errbacks]) {
        expected.add(what);
        const times = this.#published.get(what) ?? 0;
        if (times === 0 || (times > 1 && this.#isOneStore)) wrong.push(`${what} was published ${times} times`);
      }
      for (const [id, input] of calls)
        if (this.#published.has(id) && this.#calledWith.get(id) !== JSON.stringify(input))
          wrong.push(`${id} was called with ${this.#calledWith.get(id)}, expected ${JSON.stringify(input)}`);
      const ids = [...states.keys()];
      const documents = await this.#server.backend.fetch(ids);
      for (const [i, id] of ids.entries()) {
        const document = documents[i];
        const state = document === undefined ? "nothing" : (JSON.parse(String(document)) as { status: string }).status;
        if (state !== states.get(id)) wrong.push(`${id} is recorded as ${state}, expected ${states.get(id)}`);
      }
      if (wrong.length > before && wrong.length < 20) wrong.push(`in ${told(tree)}`);
    }
    for (const what of this.#published.keys())
      if (!expected.has(what)) {
        const tree = this.#sent.find(({ tree: each }) => tasksIn(each)[0]?.id.split(".")[0] === what.split(".")[0])?.tree;
        wrong.push(`${what} was published, and should not have been, in ${tree && told(tree)}`);
      }
    const left = [...this.#server.groupsLeft].filter((id) => id !== "");
    if (left.length > 0) wrong.push(`groups that were not ended: ${left.join(", ")}`);
    if (wrong.length > 0) throw new Error(`${wrong.slice(0, 30).join("\n")}\n${this.#isOneStore ? "one store" : "two stores"}`);
  }

  /** Where the network is well. */
  #slowest(): number {
    let slowestMs = 0;
    if (this.#faults.slowestMs === 0) return 0;
    for (const { prediction } of this.#sent)
      for (const [id, waits] of prediction.waits) {
        const endedAt = Math.max(...waits.map((each) => this.#endedAt.get(each) ?? 0));
        const publishedAt = this.#publishedAt.get(id) ?? Infinity;
        if (endedAt < this.#healedAt && publishedAt > this.#healedAt) continue; // some fault was in between
        slowestMs = Math.max(slowestMs, publishedAt - endedAt);
      }
    if (this.#isCalm && slowestMs > PUBLISHED_WITHIN_MS)
      throw new Error(`a body was published ${slowestMs.toFixed(0)} ms after the last end`);
    return slowestMs;
  }

  async #stopAll(): Promise<void> {
    let left = 0;
    for (const { process, worker } of this.#workers) {
      if (process.isDead) continue;
      left += 1;
      process.isStopping = true;
      process.lastFaultAt = Number.POSITIVE_INFINITY;
      void this.#world.current
        .run(process.main, () => worker.stop())
        .then(() => {
          left -= 1;
          if (process.main.timers > 0)
            this.fail(new Error(`${process.label} has stopped, and ${process.main.timers} of its timers have not`));
        });
    }
    if (!(await this.#until(this.#world.now + 60_000, () => left === 0))) throw new Error("workers do not stop");
  }

  async #until(time: number, isOver: () => boolean): Promise<boolean> {
    for (;;) {
      if (isOver()) return true;
      if (!(await this.#world.step(time))) {
        this.#world.now = Math.max(this.#world.now, time);
        return isOver();
      }
      if (this.#failure !== undefined) throw this.#failure;
      this.#ledger.check();
    }
  }
}
