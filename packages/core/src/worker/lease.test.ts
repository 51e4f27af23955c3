import { expect, test } from "vitest";

import { Lease } from "./lease.ts";

const LEASE_MS = 8000;

test("there is no lease before the first renewal", () => {
  const lease = new Lease({ leaseMs: LEASE_MS, startedAt: 1e9 });
  expect(lease.isSure(1e9)).toBe(false);
});

test("a body may start until an eighth of the lease before its end", () => {
  const startedAt = 123_456_789;
  const lease = new Lease({ leaseMs: LEASE_MS, startedAt });
  lease.extend(startedAt + LEASE_MS);
  expect(lease.isSure(startedAt + 6999)).toBe(true);
  expect(lease.isSure(startedAt + 7000)).toBe(false);
  lease.extend(startedAt + 2 * LEASE_MS);
  expect(lease.isSure(startedAt + 7000)).toBe(true);
});

test("another thread sees the same lease through the memory", () => {
  const startedAt = 42;
  const guard = new Lease({ leaseMs: LEASE_MS, startedAt });
  const main = new Lease({ leaseMs: LEASE_MS, startedAt: guard.startedAt, memory: guard.memory });
  guard.extend(startedAt + LEASE_MS);
  guard.setClockOffset(-1234.4);
  expect(main.isSure(startedAt)).toBe(true);
  expect(main.clockOffsetMs).toBe(-1234);
  guard.lose();
  expect(main.isSure(startedAt)).toBe(false);
  expect(main.losses).toBe(1);
});

test("a process that runs for months keeps telling before from after", () => {
  const startedAt = 0;
  const lease = new Lease({ leaseMs: LEASE_MS, startedAt });
  for (const day of [24, 25, 49, 50, 75, 100]) {
    const now = day * 86_400_000;
    lease.extend(now + LEASE_MS);
    expect(lease.isSure(now)).toBe(true);
    expect(lease.isSure(now + LEASE_MS)).toBe(false);
  }
});
