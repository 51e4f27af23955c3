import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeClock } from "../../testing/fake-clock.ts";
import { Bell } from "./bell.ts";

let folder: string;
let version: number;
let clock: FakeClock;
let bell: Bell;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lovage-bell-"));
  version = 1;
  clock = new FakeClock();
  bell = new Bell({ path: join(folder, "bell"), clock, dataVersion: () => version });
});

afterEach(async () => {
  bell.close();
  await rm(folder, { recursive: true, force: true });
});

test("our own ring reaches at once who listens to that matter, and nobody else", () => {
  const heard: string[] = [];
  using _ready = bell.listen("ready", () => heard.push("ready"));
  using _results = bell.listen("results", () => heard.push("results"));
  bell.ring("results");
  expect(heard).toEqual(["results"]);
});

test("another process's ring reaches all, as soon as the doorbell is written", async () => {
  using other = new Ringer(join(folder, "bell"));
  await new Promise<void>((resolve) => {
    using _never = bell.listen("results", () => {});
    const ready = bell.listen("ready", () => {
      ready[Symbol.dispose]();
      resolve();
    });
    version++;
    other.bell.ring("ready");
  });
});

test("a look that finds nothing new calls nobody; one that does calls all", async () => {
  let calls = 0;
  using _ready = bell.listen("ready", () => calls++);
  await clock.advance(2000);
  expect(calls).toBe(0);
  version++;
  await clock.advance(500);
  expect(calls).toBe(1);
  await clock.advance(2000);
  expect(calls).toBe(1);
});

test("a listener that throws breaks nothing, and is called again at the next look", async () => {
  let calls = 0;
  using _broken = bell.listen("ready", () => {
    if (++calls === 1) throw new Error("held by another process");
  });
  bell.ring("ready");
  await clock.advance(500);
  expect(calls).toBe(2);
  await clock.advance(2000);
  expect(calls).toBe(2);
});

test("nobody listening, nothing runs", async () => {
  bell.listen("ready", () => {})[Symbol.dispose]();
  expect(clock.pendingTimers).toBe(0);
});

class Ringer implements Disposable {
  readonly bell: Bell;

  constructor(path: string) {
    this.bell = new Bell({ path, clock: new FakeClock(), dataVersion: () => 0 });
  }

  [Symbol.dispose](): void {
    this.bell.close();
  }
}
