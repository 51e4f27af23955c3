import { expect, test } from "vitest";
import type { TaskContext } from "../../app/task-context.ts";
import { SoftTimeLimitExceeded } from "../../protocol/celery-errors.ts";
import { silentLogger } from "../../shared/log.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { Outcome } from "../outcome.ts";
import { type Child, type ChildEvents, childExecArgv } from "./child.ts";
import { ChildPool, type ChildPoolOptions } from "./child-pool.ts";
import { pack, packThrown } from "./crossing.ts";
import type { FromChild, ToChild } from "./messages.ts";
import type { PoolJob } from "./pool.ts";

/** A child that does what the test says. */
class Puppet implements Child {
  readonly label = "the puppet";
  readonly heard: ToChild[] = [];
  readonly events: ChildEvents;
  isKilled = false;
  #isGone = false;

  constructor(events: ChildEvents) {
    this.events = events;
  }

  say(message: FromChild): void {
    this.events.message(message);
  }
  up(): void {
    this.say({ kind: "alive" });
    this.say({ kind: "ready" });
  }
  send(message: ToChild): void {
    this.heard.push(message);
    if (message.kind === "stop") this.gone("it exited with code 0");
  }
  kill(): void {
    this.isKilled = true;
    queueMicrotask(() => this.gone("it was ended by SIGKILL"));
  }
  gone(how: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.events.exited(how, undefined);
  }
  /** Answers to the job that it has. */
  answer(value: unknown): void {
    const last = this.heard.findLast((message) => message.kind === "run");
    if (last?.kind !== "run") throw new Error("it has no job");
    this.say({ kind: "done", job: last.job, outcome: { kind: "succeeded", value: pack(value) }, children: [], memoryKib: 0 });
  }
}

class Stage {
  readonly clock = new FakeClock();
  readonly puppets: Puppet[] = [];
  readonly failures: unknown[] = [];
  readonly pool: ChildPool;

  constructor(options: Partial<ChildPoolOptions> = {}) {
    this.pool = new ChildPool({
      kind: "processes",
      slots: 1,
      setup: {
        module: "/app.js",
        exportName: undefined,
        appName: "a",
        handover: { overrides: [], file: undefined },
        worker: "w",
        logLevels: [],
        reportsMemory: false,
      },
      spawn: (_, events) => {
        const puppet = new Puppet(events);
        this.puppets.push(puppet);
        return puppet;
      },
      maxTasks: undefined,
      maxMemoryKib: undefined,
      aliveTimeoutMs: 4000,
      lostWaitMs: 1000,
      clock: this.clock,
      random: () => 1,
      logger: silentLogger,
      ...options,
    });
  }

  get last(): Puppet {
    return this.puppets.at(-1) as Puppet;
  }

  async start(): Promise<void> {
    const starting = this.pool.start({ slotsChanged: () => undefined, failed: (error) => this.failures.push(error) });
    for (const puppet of [...this.puppets]) puppet.up();
    await starting;
  }

  job(limits: Partial<PoolJob> = {}): { readonly outcomes: Outcome[]; readonly job: PoolJob } {
    const outcomes: Outcome[] = [];
    const job: PoolJob = {
      context: { id: "t", task: "a.b", args: [], kwargs: {} } as unknown as TaskContext,
      softTimeLimitMs: undefined,
      timeLimitMs: undefined,
      hasEndHooks: false,
      abort: () => undefined,
      invoke: () => undefined,
      softLimitReached: () => undefined,
      storeState: async () => undefined,
      addChild: () => undefined,
      checkpoint: async () => undefined,
      noteIterated: () => undefined,
      noteEach: () => undefined,
      interrupt: () => undefined,
      done: (outcome) => outcomes.push(outcome),
      ...limits,
    };
    this.pool.run(job);
    return { outcomes, job };
  }
}

test("a job has one outcome, whatever comes after it", async () => {
  const stage = new Stage();
  await stage.start();
  const { outcomes } = stage.job({ timeLimitMs: 1000 });
  stage.last.answer(3);
  stage.last.answer(4);
  await stage.clock.advance(2000);
  stage.last.gone("it exited with code 1");
  expect(outcomes).toEqual([{ kind: "succeeded", value: 3 }]);
});

test("at its hard limit a job is over at once, its child is killed, and another one is on its way", async () => {
  const stage = new Stage();
  await stage.start();
  const { outcomes } = stage.job({ timeLimitMs: 1000 });
  const first = stage.last;
  await stage.clock.advance(1000);
  expect(outcomes).toEqual([{ kind: "timedOut", limitMs: 1000 }]);
  expect(first.isKilled).toBe(true);
  expect([stage.puppets.length, stage.pool.slots]).toEqual([2, 0]);
  stage.last.up();
  expect(stage.pool.slots).toBe(1);
});

test("a child that dies takes its job with it, and is replaced without a pause", async () => {
  const stage = new Stage();
  await stage.start();
  const { outcomes } = stage.job();
  stage.last.gone("it was ended by SIGSEGV");
  expect(outcomes).toMatchObject([
    { kind: "childLost", error: { code: "CHILD_LOST", message: expect.stringContaining("SIGSEGV") as string } },
  ]);
  expect(stage.puppets).toHaveLength(2);
  const { outcomes: waiting } = stage.job(); // it came while no child was there
  stage.last.up();
  stage.last.answer(1);
  expect(waiting).toEqual([{ kind: "succeeded", value: 1 }]);
});

test("children that do not come up are tried again after pauses that grow, and after five times the pool gives up", async () => {
  const stage = new Stage();
  await stage.start();
  stage.last.gone("it exited with code 1"); // it never ran anything: that counts as a start that failed
  for (const pauseMs of [500, 1000, 2000, 4000]) {
    const before = stage.puppets.length;
    await stage.clock.advance(pauseMs - 1);
    expect(stage.puppets).toHaveLength(before);
    await stage.clock.advance(1);
    expect(stage.puppets).toHaveLength(before + 1);
    expect(stage.failures).toEqual([]);
    stage.last.say({ kind: "failed", error: packThrown(new Error("no such module")) });
    stage.last.gone("it exited with code 1");
  }
  expect(stage.failures).toMatchObject([{ message: "no such module" }]);
});

test("a child that does not say in time that it runs is killed, and fails the start", async () => {
  const stage = new Stage();
  const starting = expect(stage.pool.start({ slotsChanged: () => undefined, failed: () => undefined })).rejects.toThrow(
    /workerProcAliveTimeout/,
  );
  await stage.clock.advance(4000);
  await starting;
  expect(stage.puppets.every((puppet) => puppet.isKilled)).toBe(true);
});

test("a job that was asked to end has a while, then its child is killed", async () => {
  const stage = new Stage();
  await stage.start();
  const { outcomes, job } = stage.job();
  const reason = new Error("revoked");
  stage.pool.abort(job, reason);
  expect(stage.last.heard.at(-1)).toMatchObject({ kind: "abort" });
  await stage.clock.advance(1499);
  expect(outcomes).toEqual([]);
  await stage.clock.advance(1);
  expect(outcomes).toEqual([{ kind: "failed", error: reason, isWeighed: true }]);
});

test("a soft limit aborts and does not kill", async () => {
  const stage = new Stage();
  await stage.start();
  const reached: number[] = [];
  const { outcomes } = stage.job({ softTimeLimitMs: 100, softLimitReached: (limitMs) => reached.push(limitMs) });
  await stage.clock.advance(60_000);
  expect(reached).toEqual([100]);
  stage.last.answer("cleaned up");
  expect(outcomes).toEqual([{ kind: "succeeded", value: "cleaned up" }]);
});

test("hooks keep their child, and one that dies in them fails the hooks and not the task", async () => {
  const stage = new Stage();
  await stage.start();
  const { outcomes, job } = stage.job({ hasEndHooks: true });
  stage.last.answer(5);
  expect(outcomes).toEqual([{ kind: "succeeded", value: 5 }]);
  const hooks = stage.pool.runEndHooks(job, outcomes[0] as Outcome);
  expect(stage.last.heard.at(-1)).toMatchObject({ kind: "endHooks", outcome: undefined });
  stage.last.gone("it exited with code 1");
  await expect(hooks).rejects.toThrow(/exited with code 1/);
  expect(outcomes).toHaveLength(1);
  expect(stage.pool.runEndHooks(job, outcomes[0] as Outcome)).toBeUndefined(); // its place is gone: the worker runs them
});

test("hooks that never end are ended at the hard limit, and the outcome stays", async () => {
  const stage = new Stage();
  await stage.start();
  const { outcomes, job } = stage.job({ hasEndHooks: true, timeLimitMs: 1000 });
  stage.last.answer(5);
  const hooks = expect(stage.pool.runEndHooks(job, outcomes[0] as Outcome)).rejects.toThrow(/was killed/);
  await stage.clock.advance(1000);
  await hooks;
  expect(outcomes).toEqual([{ kind: "succeeded", value: 5 }]);
  expect(stage.puppets).toHaveLength(2);
});

test("after so many jobs a child is told to stop, and its successor is there before the next job", async () => {
  const stage = new Stage({ maxTasks: 2 });
  await stage.start();
  const first = stage.last;
  for (const value of [1, 2]) {
    stage.job();
    first.answer(value);
  }
  expect(first.heard.at(-1)).toEqual({ kind: "stop" });
  expect(stage.last).not.toBe(first);
});

test("stop ends what runs, and waits until all children are gone", async () => {
  const stage = new Stage({ slots: 2 });
  await stage.start();
  const { outcomes } = stage.job();
  await stage.pool.stop();
  expect(outcomes).toEqual([{ kind: "interrupted" }]);
  expect(stage.pool.slots).toBe(0);
  expect(stage.puppets).toHaveLength(2);
  expect(stage.clock.pendingTimers).toBe(0);
});

test("a job that waits for a child is ended too when it is aborted, and does not run", async () => {
  const stage = new Stage();
  await stage.start();
  stage.last.gone("it exited with code 1");
  const limited = stage.job();
  stage.pool.abort(limited.job, new SoftTimeLimitExceeded(), "none");
  expect(limited.outcomes).toEqual([]); // a limit is for what runs
  const reason = new Error("the lease was lost");
  stage.pool.abort(limited.job, reason);
  expect(limited.outcomes).toEqual([{ kind: "failed", error: reason, isWeighed: true }]);
  await stage.clock.advance(1000);
  stage.last.up();
  expect(stage.last.heard.map(({ kind }) => kind)).toEqual(["setup"]);
});

test("a pool that is made smaller while it starts has started when so many are up", async () => {
  const stage = new Stage({ slots: 2 });
  const starting = stage.pool.start({ slotsChanged: () => undefined, failed: () => undefined });
  stage.puppets[0]?.up();
  stage.pool.resize(1);
  await starting;
  expect(stage.pool.slots).toBe(1);
});

test("stopped twice, it waits for its children twice and for nothing else", async () => {
  const stage = new Stage();
  await stage.start();
  stage.job();
  const stops = Promise.all([stage.pool.stop(), stage.pool.stop()]);
  await stops;
  expect(stage.clock.pendingTimers).toBe(0);
});

test("children do not inherit what would make them something else", () => {
  expect(childExecArgv(["--inspect=9229", "--import", "tsx", "-e", "code", "--max-old-space-size=99", "--watch"])).toEqual([
    "--import",
    "tsx",
    "--max-old-space-size=99",
  ]);
});
