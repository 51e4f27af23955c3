import { expect, test } from "vitest";

import { LoanCredit } from "./credit.ts";

const never = new AbortController().signal;

test("what runs or waits is bounded, and what is on loan by another number", () => {
  const credit = new LoanCredit({ busy: 2, held: 4 });
  credit.take();
  credit.take();
  expect(credit.free()).toBe(0);
  credit.freeSlot(); // the body ended, its settlement is on the way
  credit.freeSlot();
  expect(credit.free()).toBe(2);
  credit.take();
  credit.take();
  credit.freeSlot();
  credit.freeSlot();
  expect(credit.free()).toBe(0); // four loans
  credit.freeLoan();
  expect(credit.free()).toBe(1);
});

test("who waits is woken once for all that became free in one turn", async () => {
  const credit = new LoanCredit({ busy: 3, held: 6 });
  for (let i = 0; i < 3; i++) credit.take();
  let seen = -1;
  const woken = credit.whenFree(never).then(() => (seen = credit.free()));
  for (let i = 0; i < 3; i++) {
    credit.freeSlot();
    credit.freeLoan();
    await Promise.resolve();
  }
  expect(seen).toBe(-1);
  await woken;
  expect(seen).toBe(3);
});

test("who waits is woken before the turn ends when there is enough for a call of its own", async () => {
  const credit = new LoanCredit({ busy: 100, held: 200 });
  for (let i = 0; i < 100; i++) credit.take();
  let seen = -1;
  void credit.whenFree(never).then(() => (seen = credit.free()));
  for (let i = 0; i < 63; i++) credit.freeSlot();
  await Promise.resolve();
  expect(seen).toBe(-1);
  credit.freeSlot();
  await Promise.resolve();
  expect(seen).toBe(64);
});

test("waiting ends with the signal's reason", async () => {
  const credit = new LoanCredit({ busy: 1, held: 2 });
  credit.take();
  const stop = new AbortController();
  const waiting = credit.whenFree(stop.signal);
  stop.abort(new Error("stopped"));
  await expect(waiting).rejects.toThrow("stopped");
  await expect(credit.whenFree(stop.signal)).rejects.toThrow("stopped");
});

test("it grows, and wakes who waits; it shrinks, and what is taken already stays", async () => {
  const credit = new LoanCredit({ busy: 1, held: 2 });
  credit.take();
  const waiting = credit.whenFree(never);
  credit.resize({ busy: 3, held: 6 });
  await waiting;
  expect(credit.free()).toBe(2);
  credit.take();
  credit.resize({ busy: 1, held: 2 });
  expect(credit.free()).toBe(0);
  credit.freeSlot();
  credit.freeLoan();
  expect(credit.free()).toBe(0);
});

test("closed credit is never free", () => {
  const credit = new LoanCredit({ busy: 5, held: 10 });
  credit.close();
  expect(credit.free()).toBe(0);
});
