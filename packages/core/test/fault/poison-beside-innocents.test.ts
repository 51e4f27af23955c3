/**
 * A task that kills its process, among many that do not: it is dead after at most five deliveries, all others run to their end, and lose
 * little time by it. The processes pool loses a child each time; in the async pool the whole worker dies, and is started again by its keeper.
 */
import { expect, test } from "vitest";

import { eventually } from "../support/eventually.ts";
import { PoolProject, type PoolWorker } from "../support/pool-project.ts";
import { RedisServer } from "../support/redis-server.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const SLOTS = 4;
const TASK_MS = 100;
const MAX_DELIVERIES = 5;

interface Form {
  readonly pool: string;
  readonly workers: number;
  readonly tasks: number;
  /** Of the throughput without poison. The short form is too short to say much: five deaths, each found out by a lease and followed by a start, take longer than its tasks. */
  readonly keeps: number;
}

const FORMS: readonly Form[] = [
  { pool: "processes", workers: 1, tasks: isSoak ? 1600 : 240, keeps: isSoak ? 0.95 : 0.5 },
  { pool: "async", workers: 4, tasks: isSoak ? 8000 : 400, keeps: isSoak ? 0.95 : 0.05 },
];

/** How long the innocents take, from the first to the last; with one poison in their midst or without. */
async function play({ pool, workers, tasks }: Form, withPoison: boolean): Promise<number> {
  await using server = await RedisServer.start();
  await using project = new PoolProject(server.url, { leaseTime: 1, maxDeliveries: MAX_DELIVERIES });
  let isOver = false;
  await using _over = { [Symbol.asyncDispose]: async () => void (isOver = true) }; // before the project ends its workers
  /** Some die before they could say that they are ready. */
  const startAnother = (): void => {
    if (!isOver) project.start(pool, { concurrency: SLOTS }).then(keep, startAnother);
  };
  const keep = ({ process: { exitCode, signalCode }, process }: PoolWorker): void => {
    if (exitCode !== null || signalCode !== null) startAnother();
    else process.once("exit", startAnother);
  };
  const started = await Promise.all(Array.from({ length: workers }, () => project.start(pool, { concurrency: SLOTS })));
  started.forEach(keep);
  // All children are up: what is measured is not their start.
  await Promise.all(Array.from({ length: 2 * workers * SLOTS }, () => project.call("where", 50)));
  const calls = Array.from({ length: tasks }, (_, index) => ({ name: "paced", args: [index, TASK_MS] }));
  const poison = { name: "die", args: [] as number[] };
  const begunAt = performance.now();
  const middle = tasks >> 3;
  const sent = await project.client.publishMany(withPoison ? [...calls.slice(0, middle), poison, ...calls.slice(middle)] : calls);
  const paced = (): Set<string> => new Set(project.notes().filter((note) => note.startsWith("paced ")));
  await eventually("all innocents have run", () => paced().size === tasks, 300_000);
  const tookMs = performance.now() - begunAt;
  if (withPoison) {
    const broker = await project.client.broker();
    const letters = await eventually(
      "the poison is dead",
      async () => {
        const { entries = [] } = (await broker.deadLetters?.page("celery", { limit: 10 })) ?? {};
        return entries.length > 0 && entries;
      },
      60_000,
    );
    expect(letters).toMatchObject([{ id: sent[middle]?.id, task: "die", reason: "poison", losses: MAX_DELIVERIES }]);
    expect(project.notes().filter((note) => note === "die")).toHaveLength(MAX_DELIVERIES);
    expect(await sent[middle]?.state()).toBe("FAILURE");
  }
  return tookMs;
}

for (const form of FORMS) {
  test(
    `${form.pool} x ${form.workers}: poison dies after ${MAX_DELIVERIES} deliveries, the others keep ${form.keeps * 100} % of their throughput`,
    { timeout: 900_000 },
    async ({ annotate }) => {
      const alone = await play(form, false);
      const beside = await play(form, true);
      await annotate(
        `${form.tasks} tasks in ${alone.toFixed(0)} ms, beside poison in ${beside.toFixed(0)} ms: ${((100 * alone) / beside).toFixed(1)} %`,
      );
      // oxlint-disable-next-line no-console -- a figure for whoever reads the run
      console.log(
        `${form.pool}: ${form.tasks} tasks in ${alone.toFixed(0)} ms, beside poison in ${beside.toFixed(0)} ms: ${((100 * alone) / beside).toFixed(1)} %`,
      );
      expect(alone / beside).toBeGreaterThanOrEqual(form.keeps);
    },
  );
}
