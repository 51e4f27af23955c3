import { expect, test } from "vitest";

import type { Broker, LeaseState } from "../brokers/broker.ts";
import { type LogFields, type Logger, silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { GuardLoop } from "./guard-loop.ts";
import { Lease } from "./lease.ts";

const LEASE_MS = 10_000;

class FakeBroker {
  readonly location = "fake://";
  renewals = 0;
  sweeps = 0;
  unparkedAt: number[] = [];
  nextDueAt: number | undefined;
  state: LeaseState | Error = { held: true, clockOffsetMs: 0 };
  readonly leases = {
    renew: async (): Promise<LeaseState> => {
      this.renewals += 1;
      if (this.state instanceof Error) throw this.state;
      return this.state;
    },
    sweep: async () => {
      this.sweeps += 1;
      return { returned: 0, deadLettered: 0, workers: [] };
    },
  };
  readonly delayed: { unpark(): Promise<{ moved: number; nextDueAt: number | undefined }> };

  constructor(clock: FakeClock) {
    this.delayed = {
      unpark: async () => {
        this.unparkedAt.push(clock.monotonic());
        return { moved: 0, nextDueAt: this.nextDueAt };
      },
    };
  }
}

function guard(logger: Logger = silentLogger) {
  const clock = new FakeClock();
  const broker = new FakeBroker(clock);
  const lease = new Lease({ leaseMs: LEASE_MS, startedAt: clock.monotonic() });
  const told: string[] = [];
  const events = { renewed: () => told.push("renewed"), lost: () => told.push("lost") };
  const options = { worker: "w", leaseMs: LEASE_MS, maxDeliveries: 5, visibilityTimeoutMs: 3_600_000, queues: ["celery"] };
  const loop = new GuardLoop(broker as unknown as Broker, lease, options, events, { clock, random: () => 0.5, logger });
  return { clock, broker, lease, told, loop };
}

test("the lease is renewed four times in its length, and the dead are looked for eight times", async () => {
  const { clock, broker, lease, loop } = guard();
  loop.start();
  await clock.advance(9999);
  expect(broker.renewals).toBe(4);
  expect(broker.sweeps).toBe(8);
  expect(lease.isSure(clock.monotonic())).toBe(true);
  await loop.stop();
  expect(clock.pendingTimers).toBe(0);
});

test("while the broker is silent the lease runs towards its end and is not lost; an answer makes it sure again", async () => {
  const { clock, broker, lease, told, loop } = guard();
  loop.start();
  await clock.advance(0);
  broker.state = new Error("away");
  await clock.advance(8749);
  expect(lease.isSure(clock.monotonic())).toBe(true);
  await clock.advance(1);
  expect(lease.isSure(clock.monotonic())).toBe(false);
  expect(told).toEqual(["renewed"]);
  broker.state = { held: true, clockOffsetMs: 0 };
  await clock.advance(2500);
  expect(lease.isSure(clock.monotonic())).toBe(true);
  expect(told).toEqual(["renewed", "renewed"]);
  await loop.stop();
});

test("a lease is lost when the broker says so, and only then", async () => {
  const { clock, broker, lease, told, loop } = guard();
  broker.state = { held: false, clockOffsetMs: 0 }; // what a broker says of a worker that never had one
  loop.start();
  await clock.advance(0);
  expect(told).toEqual(["renewed"]);
  await clock.advance(2500);
  expect(told).toEqual(["renewed", "lost", "renewed"]);
  expect(lease.losses).toBe(1);
  expect(lease.isSure(clock.monotonic())).toBe(true); // the new one
  await loop.stop();
});

test("the end that is believed in counts from before the renewal was sent", async () => {
  const { clock, broker, lease, loop } = guard();
  let answer = (): void => {};
  broker.leases.renew = () => new Promise((resolve) => (answer = () => resolve({ held: true, clockOffsetMs: 0 })));
  loop.start();
  await clock.advance(6000); // the answer takes that long
  answer();
  await clock.advance(0);
  expect(lease.isSure(8749)).toBe(true);
  expect(lease.isSure(8750)).toBe(false);
  const stopped = loop.stop();
  answer();
  await stopped;
});

test("parked messages are asked for when they are due, by the broker's clock", async () => {
  const { clock, broker, loop } = guard();
  broker.state = { held: true, clockOffsetMs: 2000 };
  loop.start();
  await clock.advance(0);
  expect(broker.unparkedAt).toEqual([0]);
  loop.noteParked(clock.now() + 2000 + 3000);
  await clock.advance(2999);
  expect(broker.unparkedAt).toEqual([0]);
  await clock.advance(50);
  expect(broker.unparkedAt).toHaveLength(2);
  broker.nextDueAt = clock.now() + 2000 + 60_000;
  await clock.advance(15_000); // looked at now and then, as another worker may have parked something
  expect(broker.unparkedAt).toHaveLength(4);
  await loop.stop();
});

test("a clock that is a second off is said once, with how far", async () => {
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (_: LogFields, message: string) => warnings.push(message) };
  const { clock, broker, lease, loop } = guard(logger);
  broker.state = { held: true, clockOffsetMs: -1500 };
  loop.start();
  await clock.advance(9000);
  expect(warnings).toEqual(["this machine's clock is 1.5 s ahead of the broker's (fake://): ETAs and expiries follow the broker's"]);
  expect(lease.clockOffsetMs).toBe(-1500);
  await loop.stop();
});

test("after stop nothing is asked any more, also when a renewal was on its way", async () => {
  const { clock, broker, loop } = guard();
  loop.start();
  await clock.advance(0);
  await loop.stop();
  const { renewals } = broker;
  await clock.advance(60_000);
  expect(broker.renewals).toBe(renewals);
});

test("clocks that agree within what an answer can tell are taken to agree, so that no ETA begins a millisecond early", async () => {
  const { clock, broker, lease, loop } = guard();
  broker.state = { held: true, clockOffsetMs: 1 }; // both were cut to whole milliseconds
  loop.start();
  await clock.advance(5000);
  expect(lease.clockOffsetMs).toBe(0);
  await loop.stop();
});

test("an answer that was long on its way does not spoil what is known of the broker's clock", async () => {
  const { clock, broker, lease, loop } = guard();
  loop.start();
  await clock.advance(0);
  broker.state = { held: true, clockOffsetMs: 500 };
  await clock.advance(2500);
  let answer = (_offsetMs: number): void => {};
  broker.leases.renew = () => new Promise((resolve) => (answer = (clockOffsetMs) => resolve({ held: true, clockOffsetMs })));
  await clock.advance(2500); // it is asked again
  await clock.advance(4000); // the question waited for the network, the answer did not: half of that is taken for its way
  answer(500 + 2000);
  await clock.advance(0);
  expect(lease.clockOffsetMs).toBe(500);
  await clock.advance(2500);
  await clock.advance(1000);
  answer(10_000); // further off than its way explains: the clock was set
  await clock.advance(0);
  expect(lease.clockOffsetMs).toBe(9500);
  const stopped = loop.stop();
  await stopped;
});
