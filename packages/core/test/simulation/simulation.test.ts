/**
 * A few hundred seeds, always the same. `LOVAGE_SEED=7` replays one, `LOVAGE_SEEDS=1000` runs so many from
 * `LOVAGE_FIRST_SEED` (default 1) on, `LOVAGE_SOAK=1` runs for ten minutes with seeds that nobody has seen yet.
 */
import { expect, test, vi } from "vitest";
import type { Mutation } from "./server.ts";
import { type Report, simulate } from "./simulation.ts";

vi.mock("../../src/worker/guard.ts", () => import("./guard-stand-in.ts"));

const { LOVAGE_SEED, LOVAGE_SEEDS, LOVAGE_FIRST_SEED, LOVAGE_SOAK } = process.env;
const SHORT_SEEDS = 120;
const SOAK_MS = 10 * 60_000;
const FAILURES_TOLD = 20;
const say = (text: string): void => void process.stdout.write(`${text}\n`);

test.skipIf(LOVAGE_SEED === undefined)("the seed LOVAGE_SEED", { timeout: 600_000 }, async () => {
  say(JSON.stringify(await simulate(Number(LOVAGE_SEED))));
});

test.skipIf(LOVAGE_SEED !== undefined)("whatever the seed, every promise is kept", { timeout: 2 * SOAK_MS }, async () => {
  const isSoak = LOVAGE_SOAK === "1" && LOVAGE_SEEDS === undefined;
  const first = Number(LOVAGE_FIRST_SEED ?? (isSoak ? Date.now() % 1e9 : 1));
  const end = isSoak ? Number.POSITIVE_INFINITY : first + Number(LOVAGE_SEEDS ?? SHORT_SEEDS);
  const until = performance.now() + SOAK_MS;
  const reports: Report[] = [];
  const failures: Error[] = [];
  for (let seed = first; seed < end && performance.now() < until && failures.length < FAILURES_TOLD; seed++) {
    try {
      reports.push(await simulate(seed));
    } catch (error) {
      failures.push(error as Error);
      say((error as Error).message.split("\n", 1)[0] as string); // now: a long run tells the rest at its end
    }
  }
  const sum = (of: (report: Report) => number): number => reports.reduce((total, report) => total + of(report), 0);
  say(
    `seeds from ${first}: ${reports.length} kept, ${failures.length} broken; ${sum(({ steps }) => steps)} steps, ${sum(({ tasks }) => tasks)} tasks, ` +
      `${sum(({ runs }) => runs)} runs, ${sum(({ deaths }) => deaths)} deaths, ${sum(({ leasesLost }) => leasesLost)} leases lost`,
  );
  if (failures[0]) throw failures[0];
});

/** What a driver or a server could do wrong, and did: none of it may go unseen. Where the first seed that sees it is far, it begins near it. */
const SEEDS_FOR_A_MUTATION = 3000;
test.each<[Mutation, number]>([
  ["lossToldOnce", 255],
  ["lentOnce", 1],
  ["publishedAgain", 1],
])("it finds the fault %s", { timeout: 600_000 }, async (mutation, first) => {
  let seed = first;
  let found: unknown;
  for (; found === undefined && seed < first + SEEDS_FOR_A_MUTATION; seed++) found = await simulate(seed, mutation).then(() => undefined, (error: unknown) => error); // prettier-ignore
  say(`${mutation}: found with seed ${seed - 1}, ${String((found as Error | undefined)?.message).split("\n", 1)[0]}`);
  expect(found).toBeInstanceOf(Error);
});

test("a seed replays exactly", async () => {
  const [once, again] = [await simulate(7), await simulate(7)];
  expect(again).toEqual(once);
});
