import { expect, test } from "vitest";
import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import type { SupervisedStatus } from "../worker/supervisor.ts";
import type { SystemdWords } from "./systemd.ts";
import { SystemdFollower } from "./systemd-follower.ts";

function follow(watchdogMs?: number) {
  const clock = new FakeClock();
  const words: SystemdWords[] = [];
  let status: SupervisedStatus = { processes: 2, healthy: 0, consuming: 0, running: 0, state: "starting" };
  const systemd = { watchdogMs, tell: (word: SystemdWords) => void words.push(word) };
  const follower = new SystemdFollower({ systemd, status: () => status, clock, logger: silentLogger });
  const be = (now: Partial<SupervisedStatus>): void => {
    status = { ...status, ...now };
    follower.look();
  };
  return { clock, words, follower, be };
}

test("systemd hears of readiness once, of what runs in words, and of the stop", async () => {
  const { clock, words, follower, be } = follow();
  be({ consuming: 1, healthy: 1 });
  expect(words).toEqual([]);
  be({ consuming: 2, healthy: 2, state: "running" });
  expect(words).toEqual([{ READY: "1", STATUS: "2 of 2 worker processes take tasks, 0 tasks run" }]);
  be({ running: 1 });
  await clock.advance(10_000);
  expect(words.at(-1)).toEqual({ STATUS: "2 of 2 worker processes take tasks, 1 task runs" });
  await clock.advance(60_000);
  expect(words).toHaveLength(2); // nothing new, nothing said
  be({ consuming: 0, state: "quiet" });
  be({ consuming: 2, state: "running" });
  be({ state: "warm" });
  be({ state: "cold" });
  expect(words.slice(2)).toEqual([
    { STATUS: "quiet: takes no tasks, 1 task runs" },
    { STATUS: "2 of 2 worker processes take tasks, 1 task runs" },
    { STOPPING: "1", STATUS: "stopping (warm), 1 task runs" },
    { STOPPING: "1", STATUS: "stopping (cold), 1 task runs" },
  ]);
  follower.end();
  expect(clock.pendingTimers).toBe(0);
});

test("the watchdog is fed while all processes take tasks or need not, and not while one should and does not", async () => {
  const { clock, words, be } = follow(3000);
  const fed = (): number => words.splice(0).filter(({ WATCHDOG: word }) => word === "1").length;
  be({ healthy: 2, consuming: 2, state: "running" });
  await clock.advance(5000);
  expect(fed()).toBe(5);
  be({ healthy: 1, consuming: 1 });
  await clock.advance(5000);
  expect(fed()).toBe(0);
  be({ healthy: 2, consuming: 0, state: "quiet" });
  await clock.advance(5000);
  expect(fed()).toBe(5);
  be({ healthy: 0, state: "warm" });
  await clock.advance(5000);
  expect(fed()).toBe(5);
});
