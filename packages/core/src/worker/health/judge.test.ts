import { expect, test } from "vitest";
import { type HealthFacts, judgeHealth } from "./judge.ts";

const healthy: HealthFacts = {
  state: "running",
  isConsuming: true,
  silentMs: 0,
  blockedMs: 0,
  lease: { leaseMs: 10_000, leftMs: 9000, isSure: true },
  troubles: {},
  blockedLimitMs: 120_000,
};
const judge = (facts: Partial<HealthFacts>) => judgeHealth({ ...healthy, ...facts });
const OK = { ok: true, reasons: [] };

test("a worker that consumes under a sure lease is live and ready", () => {
  expect(judge({})).toEqual({ live: OK, ready: OK });
});

test.each(["new", "starting", "quiet", "warm", "soft", "cold", "stopped"] as const)("one that is %s is live and not ready", (state) => {
  const { live, ready } = judge({ state, isConsuming: false, silentMs: 0, lease: undefined });
  expect(live.ok).toBe(true);
  expect(ready.ok).toBe(false);
});

test("while it starts, it says what it waits for", () => {
  const { live, ready } = judge({
    state: "starting",
    isConsuming: false,
    lease: undefined,
    troubles: { broker: "cannot reach redis://b" },
  });
  expect(live.ok).toBe(true);
  expect(ready.reasons).toEqual(["the worker is starting: cannot reach redis://b"]);
});

test("a link that broke makes it unready at once, and dead once nothing was heard for ten seconds", () => {
  const broken = { isConsuming: false, troubles: { broker: "the connection ended" } };
  expect(judge({ ...broken, silentMs: 500 })).toMatchObject({ live: OK, ready: { ok: false } });
  const { live, ready } = judge({ ...broken, silentMs: 10_001 });
  expect(live.reasons).toEqual(["consuming has stopped: no answer of the broker for 10.0 s: the connection ended"]);
  expect(ready.reasons).toEqual(["the worker does not consume: the connection ended"]);
});

test("a lease that is unsure for a moment costs readiness, one that is over costs life", () => {
  const unsure = judge({ lease: { leaseMs: 10_000, leftMs: 900, isSure: false } });
  expect(unsure).toMatchObject({ live: OK, ready: { ok: false } });
  const over = judge({ lease: { leaseMs: 10_000, leftMs: -50, isSure: false }, troubles: { guard: "no route" } });
  expect(over.live.reasons).toEqual(["the worker's lease has not been renewed for 10.1 s: no route"]);
  expect(judge({ lease: { leaseMs: 10_000, leftMs: undefined, isSure: false } }).live.reasons).toEqual(["the worker's lease was lost"]);
});

test("a short lease is not taken for a dead worker sooner than in ten seconds, a long one not before its end", () => {
  expect(judge({ lease: { leaseMs: 1000, leftMs: -3000, isSure: false } }).live.ok).toBe(true);
  expect(judge({ lease: { leaseMs: 1000, leftMs: -9500, isSure: false } }).live.ok).toBe(false);
  expect(judge({ lease: { leaseMs: 60_000, leftMs: 20_000, isSure: true } }).live.ok).toBe(true);
});

test("a blocked event loop is a busy worker, until its limit", () => {
  expect(judge({ blockedMs: 4000 })).toEqual({ live: OK, ready: OK });
  const busy = judge({ blockedMs: 60_000 });
  expect(busy.live).toEqual(OK);
  expect(busy.ready.reasons).toEqual(["the main thread's event loop has been blocked for 60.0 s"]);
  expect(judge({ blockedMs: 120_001 }).live.ok).toBe(false);
  expect(judge({ state: "starting", lease: undefined, blockedMs: 120_001 }).live.ok).toBe(false);
});

test("a worker that gave up is neither live nor ready while it stops", () => {
  const { live, ready } = judge({ state: "warm", troubles: { failure: "no more tries" } });
  expect(live).toEqual({ ok: false, reasons: ["the worker gave up: no more tries"] });
  expect(ready).toEqual(live);
});
