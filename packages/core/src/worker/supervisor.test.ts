import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import { expect, test } from "vitest";

import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { READY, reportToSupervisor, Supervisor } from "./supervisor.ts";

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

  ready(): void {
    this.emit("message", READY);
  }

  exit(code: number | null, signal: NodeJS.Signals | null = null): void {
    this.emit("exit", code, signal);
  }
}

function supervise(processes: number): { clock: FakeClock; supervisor: Supervisor; started: FakeChild[] } {
  const clock = new FakeClock();
  const started: FakeChild[] = [];
  const spawn = (): ChildProcess => {
    const child = new FakeChild(100 + started.length);
    started.push(child);
    return child as unknown as ChildProcess; // the part of one that a supervisor uses
  };
  const supervisor = new Supervisor({ processes, spawn, clock, random: () => 0.5, logger: silentLogger });
  supervisor.start();
  return { clock, supervisor, started };
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
  supervisor.signal("SIGTERM");
  expect(at(started, 1).signals).toEqual(["SIGTERM"]);
  at(started, 1).exit(0);
  expect(await supervisor.finished).toBe(0);
  await clock.advance(60_000);
  expect(started).toHaveLength(2);
});

test("a child reports once it consumes, and stops when its supervisor is gone", () => {
  const parent = new EventEmitter() as EventEmitter & { connected: boolean; send(message: unknown): boolean };
  parent.connected = true;
  const sent: unknown[] = [];
  parent.send = (message) => sent.push(message) > 0;
  let stops = 0;
  reportToSupervisor(parent as never, () => stops++);
  expect(sent).toEqual([READY]);
  parent.emit("disconnect");
  expect(stops).toBe(1);
  parent.connected = false;
  reportToSupervisor(parent as never, () => stops++); // it was gone before the worker was up
  expect(stops).toBe(2);
  expect(sent).toEqual([READY]);
});
