import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import { expect, test } from "vitest";

import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import type { WorkerState } from "./life.ts";
import { Supervisor } from "./supervisor.ts";
import { REPORT, SupervisorLink, type WorkerReport } from "./supervisor-link.ts";

const LIMITS = { graceMs: 25_000, softMs: 0 };

class FakeChild extends EventEmitter {
  readonly pid: number;
  readonly signals: NodeJS.Signals[] = [];

  constructor(pid: number) {
    super();
    this.pid = pid;
  }

  kill(signal: NodeJS.Signals): boolean {
    this.signals.push(signal);
    return true;
  }

  ready(limits = LIMITS): void {
    this.report("running", { isConsuming: true, limits });
  }

  report(state: WorkerState, more: Partial<WorkerReport> = {}): void {
    this.emit("message", { kind: REPORT, state, isConsuming: false, running: 0, limits: LIMITS, ...more } satisfies WorkerReport);
  }

  exit(code: number | null, signal: NodeJS.Signals | null = null): void {
    this.emit("exit", code, signal);
  }
}

function supervise(processes: number) {
  const clock = new FakeClock();
  const started: FakeChild[] = [];
  const quietStarts: boolean[] = [];
  const spawn = (_: number, { quiet }: { quiet: boolean }): ChildProcess => {
    quietStarts.push(quiet);
    const child = new FakeChild(100 + started.length);
    started.push(child);
    return child as unknown as ChildProcess; // the part of one that a supervisor uses
  };
  const supervisor = new Supervisor({ processes, spawn, clock, random: () => 0.5, logger: silentLogger });
  supervisor.start();
  return { clock, supervisor, started, quietStarts };
}

const at = (children: readonly FakeChild[], index: number): FakeChild => children[index] as FakeChild;

test("a child that dies is started again after a pause that grows", async () => {
  const { clock, started } = supervise(2);
  expect(started).toHaveLength(2);
  for (const child of started) child.ready();
  at(started, 0).exit(1);
  await clock.advance(499);
  expect(started).toHaveLength(2);
  await clock.advance(1); // half of a second
  expect(started).toHaveLength(3);
  at(started, 2).ready();
  at(started, 2).exit(null, "SIGKILL");
  await clock.advance(999);
  expect(started).toHaveLength(3);
  await clock.advance(1); // half of two
  expect(started).toHaveLength(4);
});

test("five starts in a row that fail end everything with exit code 1", async () => {
  const { clock, supervisor, started } = supervise(2);
  at(started, 1).ready();
  for (let failures = 1; failures < 5; failures++) {
    (failures === 1 ? at(started, 0) : (started.at(-1) as FakeChild)).exit(1);
    await clock.advance(30_000);
    expect(started).toHaveLength(2 + failures);
  }
  (started.at(-1) as FakeChild).exit(1);
  expect(at(started, 1).signals).toEqual(["SIGTERM"]); // the one that is up is asked to stop
  at(started, 1).exit(0);
  expect(await supervisor.finished).toBe(1);
  expect(clock.pendingTimers).toBe(0);
});

test("a start that succeeds forgives those that failed before", async () => {
  const { clock, started } = supervise(1);
  for (let round = 0; round < 12; round++) {
    if (round % 4 === 3) (started.at(-1) as FakeChild).ready();
    (started.at(-1) as FakeChild).exit(1);
    await clock.advance(30_000);
    expect(started).toHaveLength(round + 2);
  }
});

test("signals are passed on, and after one that asks to stop nothing starts again", async () => {
  const { clock, supervisor, started } = supervise(2);
  for (const child of started) child.ready();
  at(started, 0).exit(1); // waits to be started again
  supervisor.pass("warm", "SIGTERM");
  expect(at(started, 1).signals).toEqual(["SIGTERM"]);
  at(started, 1).exit(0);
  expect(await supervisor.finished).toBe(0);
  await clock.advance(60_000);
  expect(started).toHaveLength(2);
});

test("a child that was told to stop by others is not started again, and without any the supervisor ends", async () => {
  const { clock, supervisor, started } = supervise(2);
  for (const child of started) child.ready();
  at(started, 0).report("stopped");
  at(started, 0).exit(0);
  at(started, 1).exit(0); // a task called process.exit(0)
  await clock.advance(1000);
  expect(started).toHaveLength(3);
  at(started, 2).ready();
  at(started, 2).report("stopped");
  at(started, 2).exit(0);
  expect(await supervisor.finished).toBe(0);
  expect(clock.pendingTimers).toBe(0);
});

test("what has not stopped ten seconds after its wait is killed, at once when it is asked for the third time", async () => {
  const { clock, supervisor, started } = supervise(1);
  const child = at(started, 0);
  child.ready();
  supervisor.pass("warm", "SIGTERM");
  await clock.advance(34_999);
  expect(child.signals).toEqual(["SIGTERM"]);
  await clock.advance(1);
  expect(child.signals).toEqual(["SIGTERM", "SIGKILL"]);
  child.exit(null, "SIGKILL");
  expect(await supervisor.finished).toBe(0);

  const impatient = supervise(1);
  at(impatient.started, 0).ready();
  for (let asked = 0; asked < 3; asked++) impatient.supervisor.pass("warm", "SIGINT");
  expect(at(impatient.started, 0).signals).toEqual(["SIGINT", "SIGINT", "SIGKILL"]);
});

test("a soft stop may take as long as the app's settings say, and a second one cuts that short", async () => {
  const { clock, supervisor, started } = supervise(1);
  const child = at(started, 0);
  child.ready({ graceMs: 25_000, softMs: 40_000 });
  supervisor.pass("soft", "SIGQUIT");
  await clock.advance(30_000);
  supervisor.pass("soft", "SIGQUIT");
  await clock.advance(9999);
  expect(child.signals).toEqual(["SIGQUIT", "SIGQUIT"]);
  await clock.advance(1);
  expect(child.signals.at(-1)).toBe("SIGKILL");
});

test("while it is quiet, a child that dies is started quiet", async () => {
  const { clock, supervisor, started, quietStarts } = supervise(1);
  at(started, 0).ready();
  supervisor.pass("quiet", "SIGTSTP");
  expect(at(started, 0).signals).toEqual(["SIGTSTP"]);
  at(started, 0).exit(null, "SIGKILL");
  await clock.advance(1000);
  supervisor.pass("resume", "SIGCONT");
  at(started, 1).exit(null, "SIGKILL");
  await clock.advance(30_000);
  expect(quietStarts).toEqual([false, true, false]);
});

test("its status counts what reported lately", async () => {
  const { clock, supervisor, started } = supervise(2);
  expect(supervisor.status()).toMatchObject({ state: "starting", healthy: 0 });
  for (const child of started) child.report("running", { isConsuming: true, running: 3 });
  expect(supervisor.status()).toEqual({ processes: 2, healthy: 2, consuming: 2, running: 6, state: "running" });
  await clock.advance(6000);
  at(started, 0).report("running", { isConsuming: false });
  expect(supervisor.status()).toMatchObject({ healthy: 1, consuming: 1 });
  at(started, 0).report("quiet");
  await clock.advance(1000); // nothing of the other for seven seconds
  expect(supervisor.status()).toMatchObject({ healthy: 1, consuming: 0 });
});

test("a worker process reports at once and again and again, and hears when its supervisor is gone", async () => {
  const clock = new FakeClock();
  const parent = new EventEmitter() as EventEmitter & { connected: boolean; send(...args: unknown[]): boolean };
  parent.connected = true;
  const sent: unknown[] = [];
  parent.send = (message, _, __, done) => {
    sent.push(message);
    (done as () => void)();
    return true;
  };
  let orphaned = 0;
  let state: WorkerState = "starting";
  const setup = {
    parent: parent as never,
    clock,
    report: () => ({ state, isConsuming: false, running: 0, limits: LIMITS }),
    orphaned: () => orphaned++,
  };
  const link = new SupervisorLink(setup);
  state = "running";
  link.tell();
  await clock.advance(4000);
  const states = (sent as WorkerReport[]).map((report) => report.state);
  expect(states).toEqual(["starting", "running", "running", "running"]);
  parent.connected = false;
  parent.emit("disconnect");
  expect(orphaned).toBe(1);
  await clock.advance(10_000);
  expect(sent).toHaveLength(4);
  await link.end();
  const late = new SupervisorLink(setup); // it was gone before the worker was up
  expect(orphaned).toBe(2);
  await late.end();
  expect(clock.pendingTimers).toBe(0);
});

test("a child whose event loop is blocked for longer than it may be is killed and started again", async () => {
  const { clock, started } = supervise(1);
  const child = at(started, 0);
  const limits = { ...LIMITS, blockedMs: 60_000 };
  child.ready(limits);
  await clock.advance(62_000);
  child.report("running", { limits }); // late, but there
  await clock.advance(62_900);
  expect(child.signals).toEqual([]);
  await clock.advance(100);
  expect(child.signals).toEqual(["SIGKILL"]);
  child.exit(null, "SIGKILL");
  await clock.advance(1000);
  expect(started).toHaveLength(2);
});

test("without such a limit a child may be blocked for as long as it likes, and one that is gone is not killed", async () => {
  const { clock, supervisor, started } = supervise(2);
  at(started, 0).ready();
  at(started, 1).ready({ ...LIMITS, blockedMs: 1000 } as typeof LIMITS);
  supervisor.pass("warm", "SIGTERM");
  at(started, 1).exit(0);
  await clock.advance(30_000);
  expect(at(started, 0).signals).toEqual(["SIGTERM"]);
  expect(at(started, 1).signals).toEqual(["SIGTERM"]);
});
