/**
 * The crash matrix: each way to acknowledge x each fault, with real workers and servers; what was lost, what ran twice, and how long it took.
 * The short form plays what is promised once each; `LOVAGE_SOAK=1` plays all of it and writes down what `docs/guarantees.md` shows.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { FAULTS, type Fault } from "./matrix/faults.ts";
import { type Account, SLOTS } from "./matrix/stage.ts";

interface Mode {
  readonly name: string;
  readonly task: string;
}

const LATE: Mode = { name: "late (default)", task: "matrix.late" };
const EARLY: Mode = { name: "early", task: "matrix.early" };
const MODES: readonly Mode[] = [
  LATE,
  { name: "late, rejectOnWorkerLost: false", task: "matrix.lateLostIsFailed" },
  { name: "late, acksOnFailure: false", task: "matrix.lateFailureIsRejected" },
  EARLY,
];

const isSoak = process.env.LOVAGE_SOAK === "1";
const MEASURED = fileURLToPath(new URL("../../../../.cache/crash-matrix.json", import.meta.url));
/** A fleet's lease here is 1 s; with the default of 10 s these figures are ten times longer where a lease is waited for. */
const cells = FAULTS.flatMap((fault) => MODES.map((mode) => ({ fault, mode }))).filter(
  ({ fault, mode }) =>
    isSoak ||
    (mode === LATE && !/everysec$|no persistence/.test(fault.name)) ||
    (mode === EARLY && /worker killed|throws/.test(fault.name)),
);

const measured: Record<string, unknown>[] = [];
afterAll(() => {
  if (!isSoak) return;
  mkdirSync(dirname(MEASURED), { recursive: true });
  writeFileSync(MEASURED, `${JSON.stringify({ at: new Date().toISOString(), cells: measured }, null, 2)}\n`);
});

for (const { fault, mode } of cells) {
  const why = fault.isImpossible?.();
  test.skipIf(why !== undefined)(`${mode.name} x ${fault.name}${why === undefined ? "" : ` (${why})`}`, async ({ annotate }) => {
    await fault.play({ task: mode.task }, async ({ stage, struckAt, overAt, victim }) => {
      await stage.noted((notes) => notes.some(({ what, at }) => what === "ended" && at > overAt + 300)); // it goes on by itself
      await stage.drain(5000, fault.losesStore === true || mode === EARLY);
      const account = stage.account(struckAt, overAt, victim);
      const [states, dead] = [await stage.states(), await stage.dead()];
      measured.push({ fault: fault.name, mode: mode.name, ...account, states, dead });
      await annotate(`${JSON.stringify(account)} ${JSON.stringify(states)} dead ${dead}`);
      checkPromises(fault, mode, account, states, dead);
    });
  });
}

const RECOVERS_WITHIN_MS = 5000;
/** What one worker may hold. */
const HELD = 2 * SLOTS;

function checkPromises(fault: Fault, mode: Mode, account: Account, states: Readonly<Record<string, number>>, dead: number): void {
  const { lost, repeated, accepted, recoveryMs, ranAlthoughRefused } = account;
  expect(accepted).toBeGreaterThan(60);
  expect(ranAlthoughRefused).toBe(0);
  if (recoveryMs !== undefined) expect(recoveryMs).toBeLessThan(RECOVERS_WITHIN_MS);
  if (mode === EARLY) {
    if (!fault.losesStore) expect(lost).toBeLessThanOrEqual(HELD);
    if (!/Sentinel|Redis killed/.test(fault.name)) expect(repeated).toBe(0);
    return;
  }
  if (fault.losesStore) return;
  const isFailedWithChild = mode.task === "matrix.lateLostIsFailed" && fault.name === "pool child killed";
  expect(lost).toBeLessThanOrEqual(isFailedWithChild ? 1 : 0);
  expect(repeated).toBeLessThanOrEqual(/worker|child/.test(fault.name) ? HELD : 0);
  if (fault.name === "task throws") {
    expect(states).toEqual({ FAILURE: accepted });
    expect(dead).toBe(mode.task === "matrix.lateFailureIsRejected" ? accepted : 0);
  } else {
    expect(dead).toBe(0);
    expect(states["SUCCESS"]).toBe(accepted - lost);
  }
}
