import { expect, test } from "vitest";

import { stampMark, taskMark } from "../app/revocation-marks.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { RevokedTasks } from "./revoked.ts";

const task = (id: string, stamps: Readonly<Record<string, unknown>> = {}) => ({ id, stamps });

test("a mark is forgotten after its time, and makes room when another is added", async () => {
  const clock = new FakeClock();
  const revoked = new RevokedTasks(clock, { max: 10 });
  expect(revoked.isEmpty).toBe(true);
  revoked.add(taskMark("a"), 1000);
  await clock.advance(999);
  expect(revoked.has(task("a"))).toBe(true);
  expect([...revoked.marks()]).toEqual([taskMark("a")]);
  await clock.advance(1);
  expect(revoked.has(task("a"))).toBe(false);
  expect([...revoked.marks()]).toEqual([]);
  revoked.add(taskMark("b"), 1000);
  expect(revoked.size).toBe(1);
  expect(revoked.isPartial).toBe(false);
});

test("of two times that were told for a mark the longer one holds", async () => {
  const clock = new FakeClock();
  const revoked = new RevokedTasks(clock, { max: 10 });
  revoked.add(taskMark("a"), 5000);
  revoked.add(taskMark("a"), 1000);
  await clock.advance(4000);
  expect(revoked.has(task("a"))).toBe(true);
  revoked.add(taskMark("a"), 5000);
  await clock.advance(4000);
  expect(revoked.has(task("a"))).toBe(true);
});

test("beyond the bound the oldest make room, and that is known until their time would have been over", async () => {
  const clock = new FakeClock();
  const revoked = new RevokedTasks(clock, { max: 2 });
  for (const id of ["a", "b", "a", "c"]) revoked.add(taskMark(id), 1000); // a is told again: b is the oldest
  expect(["a", "b", "c"].map((id) => revoked.has(task(id)))).toEqual([true, false, true]);
  expect(revoked.isPartial).toBe(true);
  await clock.advance(1000);
  expect(revoked.isPartial).toBe(false);
});

test("a task is revoked by any value of any of its stamps, a text not being the number that it looks like", () => {
  const revoked = new RevokedTasks(new FakeClock(), { max: 10 });
  revoked.add(stampMark("tenant", "acme"), 1000);
  revoked.add(stampMark("batch", 7), 1000);
  expect(revoked.has(task("x", { tenant: "acme" }))).toBe(true);
  expect(revoked.has(task("x", { tenant: ["other", "acme"] }))).toBe(true);
  expect(revoked.has(task("x", { tenant: "other", batch: [7] }))).toBe(true);
  expect(revoked.has(task("x", { batch: "7" }))).toBe(false);
  expect(revoked.has(task("x", { owner: "acme", odd: { tenant: "acme" }, none: null }))).toBe(false);
  expect(revoked.has(task("acme"))).toBe(false);
});

test("many revokes leave no more than there is room for, and a mark that is told again and again takes no more room", () => {
  const revoked = new RevokedTasks(new FakeClock(), { max: 2000 });
  for (let i = 0; i < 50_000; i++) revoked.add(taskMark(String(i)), 1000);
  expect(revoked.size).toBe(2000);
  expect(revoked.has(task("49999"))).toBe(true);
  expect(revoked.has(task("47999"))).toBe(false);
  for (let i = 0; i < 50_000; i++) revoked.add(taskMark("again"), 1000);
  expect(revoked.size).toBe(2000);
  const marks = [...revoked.marks()];
  expect(marks).toHaveLength(2000);
  expect(marks.at(-1)).toBe(taskMark("again"));
});
