/**
 * Random workflows, always the same. `LOVAGE_SEED=7` replays one run, `LOVAGE_SEEDS=1000` makes so many from
 * `LOVAGE_FIRST_SEED` (default 1) on, `LOVAGE_SOAK=1` goes on until 10,000 trees have grown.
 */
import { expect, test, vi } from "vitest";
import { type CanvasReport, simulateTrees } from "./canvas-run.ts";

vi.mock("../../src/worker/guard.ts", () => import("./guard-stand-in.ts"));

const { LOVAGE_SEED, LOVAGE_SEEDS, LOVAGE_FIRST_SEED, LOVAGE_SOAK } = process.env;
const SHORT_SEEDS = 60;
const SOAK_TREES = 10_000;
const FAILURES_TOLD = 10;
const say = (text: string): unknown => process.stdout.write(`${text}\n`);

test("whatever becomes of its tasks, a workflow does what the truth table says, once", { timeout: 3_600_000 }, async () => {
  const only = LOVAGE_SEED === undefined ? undefined : Number(LOVAGE_SEED);
  const isSoak = LOVAGE_SOAK === "1" && LOVAGE_SEEDS === undefined && only === undefined;
  const first = only ?? Number(LOVAGE_FIRST_SEED ?? (isSoak ? Date.now() % 1e9 : 1));
  const end = only !== undefined ? first + 1 : isSoak ? Infinity : first + Number(LOVAGE_SEEDS ?? SHORT_SEEDS);
  const reports: CanvasReport[] = [];
  const failures: Error[] = [];
  let trees = 0;
  for (let seed = first; seed < end && trees < SOAK_TREES && failures.length < FAILURES_TOLD; seed++) {
    try {
      const report = await simulateTrees(seed);
      reports.push(report);
      trees += report.trees;
    } catch (error) {
      failures.push(error as Error);
    }
  }
  const sum = (of: (report: CanvasReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  say(
    `runs from ${first}: ${reports.length} as the table says, ${failures.length} not; ${trees} trees, ${sum(({ tasks }) => tasks)} tasks, ` +
      `${sum(({ deaths }) => deaths)} deaths, ${sum(({ steps }) => steps)} steps; a body at most ${Math.max(...reports.map(({ slowestMs }) => slowestMs)).toFixed(0)} ms after the last end`,
  );
  if (failures.length > 1) say(failures.map(({ message }) => message.split("\n", 2).join(" ")).join("\n"));
  if (failures[0]) throw failures[0];
  expect(reports.length).toBeGreaterThan(0);
});
