/**
 * The inside of a child: loads the app once, then runs one job at a time and answers with what it came to. Limits,
 * retries' publishing, acks and results are the worker's; the app's own connection is opened only when a task sends.
 *
 * States: waiting for its setup -> loading -> ready <-> running -> stopping. A job's context is kept until the next
 * job, for the hooks that may follow.
 */
import { inspect } from "node:util";
import type { Lovage } from "../../app/app.ts";
import { BatchEnds, type ItemFacts } from "../../app/batch-task.ts";
import { runAsTask } from "../../app/process-wide.ts";
import { matchesError } from "../../app/retry-plan.ts";
import { RunningTask } from "../../app/running-task.ts";
import type { ResultTuple } from "../../canvas/result-tuple.ts";
import type { TaskRequest } from "../../app/task-context.ts";
import type { AnyTask } from "../../app/task.ts";
import { NotRegistered } from "../../protocol/celery-errors.ts";
import { errorText } from "../../shared/errors.ts";
import type { LogFields, Logger, LogLevel } from "../../shared/log.ts";
import { outcomeOfEnd } from "../crew.ts";
import { runEndHooks } from "../end-hooks.ts";
import { invokeTask } from "../invoke.ts";
import { type Outcome, outcomeOfThrown } from "../outcome.ts";
import { postingLogger } from "../posting-logger.ts";
import { finalOutcome } from "../verdict.ts";
import { markAsPoolChild } from "./child-marker.ts";
import { pack, packOutcome, packThrown, unpack, unpackOutcome, unpackThrown } from "./crossing.ts";
import { loadChildApp } from "./load-child-app.ts";
import type { ChildSetup, FromChild, JobFacts, ToChild } from "./messages.ts";

export interface ChildHome {
  send(message: FromChild, transfer?: readonly ArrayBuffer[]): void;
  memoryKib(): number;
  /** Once all that was sent has left. */
  exit(code: number): void;
}

interface Run {
  readonly job: number;
  readonly task: AnyTask;
  readonly context: RunningTask;
  readonly abort: AbortController;
  outcome: Outcome | undefined;
  /** Children that were told already. */
  told: number;
}

export class ChildRunner {
  readonly #home: ChildHome;
  #setup: ChildSetup | undefined;
  #app: Lovage | undefined;
  #logger: Logger;
  #run: Run | undefined;
  #calls = 0;
  readonly #stores = new Map<number, () => void>();

  constructor(home: ChildHome) {
    this.#home = home;
    markAsPoolChild();
    this.#logger = this.#makeLogger();
    process.on("unhandledRejection", (reason) => this.#logger.error({ err: reason }, "a promise was rejected and nobody handled it"));
    process.on("uncaughtException", (error) => this.#die(error));
    home.send({ kind: "alive" });
  }

  hear(message: ToChild): void {
    switch (message.kind) {
      case "setup":
        void this.#load(message.setup);
        return;
      case "run":
        void this.#runJob(message.job, unpack(message.facts) as JobFacts); // packed from them
        return;
      case "abort":
        if (this.#run?.job === message.job) this.#run.abort.abort(unpackThrown(message.reason));
        return;
      case "interrupt":
        if (this.#run?.job === message.job) this.#run.context.interrupt();
        return;
      case "stored":
        this.#stores.get(message.call)?.();
        this.#stores.delete(message.call);
        return;
      case "endHooks":
        void this.#runHooks(message.job, message.outcome && unpackOutcome(message.outcome));
        return;
      case "stop":
        void this.stop();
        return;
    }
  }

  /** Runs the hooks of the end and closes what the app opened. */
  async stop(): Promise<void> {
    try {
      await this.#app?.hooks.run("childStop");
    } catch (error) {
      this.#logger.error({ err: error }, `a hook of the child's stop failed: ${errorText(error)}`);
    }
    await this.#app?.close().catch(() => undefined); // what it published has been answered to whoever waited for it
    this.#home.exit(0);
  }

  async #load(setup: ChildSetup): Promise<void> {
    this.#setup = setup;
    this.#logger = this.#makeLogger(setup.logLevels);
    try {
      this.#app = await loadChildApp(setup, this.#logger);
      await this.#app.hooks.run("childStart");
    } catch (error) {
      return this.#die(error);
    }
    this.#home.send({ kind: "ready" });
  }

  #die(error: unknown): void {
    this.#home.send({ kind: "failed", error: packThrown(error) });
    this.#home.exit(1);
  }

  // --- a job -------------------------------------------------------------------------------------------------------

  async #runJob(job: number, facts: JobFacts): Promise<void> {
    const app = this.#app as Lovage; // jobs come after `ready`
    const task = app.tasks.get(facts.task);
    if (task === undefined) return this.#answer(job, { kind: "failed", error: new NotRegistered(facts.task) }, undefined);
    const run = this.#begin(job, facts, app, task);
    this.#run = run;
    let outcome: Outcome;
    try {
      const value = await runAsTask(run.context, () => invokeTask(task, run.context, facts.args, facts.kwargs));
      outcome = { kind: "succeeded", value };
    } catch (thrown) {
      outcome = outcomeOfThrown(thrown);
    }
    run.outcome = outcome;
    if (outcome.kind === "succeeded" && outcome.value instanceof BatchEnds) return this.#answerEach(run, facts, outcome.value);
    // Errors are weighed here, where they still have their class.
    this.#answer(job, this.#weighed(outcome, facts, task), run);
  }

  #begin(job: number, facts: JobFacts, app: Lovage, task: AnyTask): Run {
    const abort = new AbortController();
    const request: TaskRequest = Object.assign(Object.create(UNDEFINED_FACTS) as TaskRequest, facts, { workerPid: process.pid });
    const context = new RunningTask(request, {
      app,
      options: task.options,
      clock: app.clock,
      random: app.random,
      signal: () => abort.signal,
      storeState: (state, meta) => this.#storeState(run, state, meta),
      checkpoint: (text) => this.#checkpoint(run, text),
    });
    const run: Run = { job, task, context, abort, outcome: undefined, told: 0 };
    return run;
  }

  /** Each message of a batch is weighed by its own attempts. */
  #answerEach({ job, task }: Run, { args }: JobFacts, { each }: BatchEnds): void {
    const transfer: ArrayBuffer[] = [];
    const packed = each.map((end, i) => {
      const facts = args[i] as ItemFacts; // those that the batch was made from
      const outcome = this.#weighed(outcomeOfEnd(end), facts, task);
      try {
        return packOutcome(outcome, isExpected(outcome, task), transfer);
      } catch (error) {
        return packOutcome({ kind: "failed", error }, false); // a value that cannot cross
      }
    });
    const memoryKib = this.#setup?.reportsMemory ? this.#home.memoryKib() : 0;
    this.#home.send({ kind: "done", job, outcome: { kind: "ignored" }, each: packed, children: [], memoryKib }, transfer);
  }

  #weighed(outcome: Outcome, facts: Pick<JobFacts, "retries" | "headers" | "startedAt">, task: AnyTask): Outcome {
    const app = this.#app as Lovage; // jobs come after `ready`
    const weighed = finalOutcome(outcome, undefined, () => ({ ...facts, now: app.clock.now() }), task.options.retry, app.random);
    return weighed === outcome || weighed.kind !== "retry" ? weighed : { ...weighed, isAutomatic: true };
  }

  #answer(job: number, outcome: Outcome, run: Run | undefined): void {
    const children = run === undefined ? [] : newChildren(run);
    const memoryKib = this.#setup?.reportsMemory ? this.#home.memoryKib() : 0;
    if (run) run.outcome = outcome;
    try {
      const transfer: ArrayBuffer[] = [];
      const iterated = run?.context.iterated;
      const packed = packOutcome(outcome, run !== undefined && isExpected(outcome, run.task), transfer);
      this.#home.send({ kind: "done", job, outcome: packed, children, iterated, memoryKib }, transfer);
    } catch (error) {
      // What cannot be cloned could not have been written as a result either.
      const failed: Outcome = { kind: "failed", error };
      if (run) run.outcome = failed;
      this.#home.send({ kind: "done", job, outcome: packOutcome(failed, false), children, iterated: undefined, memoryKib });
    }
  }

  async #runHooks(job: number, other: Outcome | undefined): Promise<void> {
    const run = this.#run;
    let error: unknown;
    try {
      const outcome = other ?? run?.outcome;
      if (run?.job === job && outcome) await runAsTask(run.context, () => runEndHooks(run.task.options.hooks, outcome, run.context));
    } catch (thrown) {
      error = thrown ?? new Error("a hook threw nothing");
    }
    this.#home.send({ kind: "hooksDone", job, error: error === undefined ? undefined : packThrown(error) });
  }

  #storeState(run: Run, state: string, meta: unknown): Promise<void> {
    const call = ++this.#calls;
    this.#home.send({ kind: "state", job: run.job, call, state, meta: pack(meta), children: newChildren(run) });
    return new Promise((resolve) => this.#stores.set(call, resolve));
  }

  #checkpoint(run: Run, text: string): Promise<void> {
    const call = ++this.#calls;
    const iterated = run.context.iterated ?? { text, progress: undefined };
    this.#home.send({ kind: "checkpoint", job: run.job, call, iterated });
    return new Promise((resolve) => this.#stores.set(call, resolve));
  }

  #makeLogger(levels?: readonly LogLevel[]): Logger {
    const post = (level: LogLevel, fields: LogFields, message: string): void => {
      try {
        this.#home.send({ kind: "log", level, fields, message });
      } catch {
        this.#home.send({ kind: "log", level, fields: textsOf(fields), message }); // a field that cannot cross
      }
    };
    return postingLogger(post, levels);
  }
}

/** Facts that are left out on the way. */
const UNDEFINED_FACTS = { isEager: false };

function newChildren(run: Run): readonly ResultTuple[] {
  const { children } = run.context;
  if (children.length === run.told) return NO_CHILDREN;
  const fresh = children.slice(run.told);
  run.told = children.length;
  return fresh;
}

const NO_CHILDREN: readonly ResultTuple[] = [];

function isExpected(outcome: Outcome, task: AnyTask): boolean {
  if (outcome.kind !== "failed") return false;
  try {
    return task.options.throws.some((matcher) => matchesError(outcome.error, matcher));
  } catch {
    return false; // a matcher of the user's that throws
  }
}

function isScalar(value: unknown): boolean {
  return value === null || ["string", "number", "boolean", "bigint", "undefined"].includes(typeof value);
}

function textsOf(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, isScalar(value) ? value : inspect(value, { depth: 2 })]));
}
