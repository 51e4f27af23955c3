import { expect, test } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { RevokedTasks } from "./revoked.ts";

test("an id is remembered for a while, measured by a clock that never jumps", async () => {
  const clock = new FakeClock();
  const revoked = new RevokedTasks(clock, { max: 10, expiresMs: 1000 });
  revoked.add("a");
  clock.jump(1e9);
  expect(revoked.has("a")).toBe(true);
  await clock.advance(1000);
  expect(revoked.has("a")).toBe(false);
  revoked.add("b");
  expect(revoked.size).toBe(1); // the expired one is gone
});

test("beyond the maximum the oldest are forgotten, and a repeated id is young again", () => {
  const revoked = new RevokedTasks(new FakeClock(), { max: 2, expiresMs: 1000 });
  for (const id of ["a", "b", "a", "c"]) revoked.add(id);
  expect(["a", "b", "c"].map((id) => revoked.has(id))).toEqual([true, false, true]);
});
