import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { killStorm } from "./kill-storm.ts";

/** The long form is `LOVAGE_SOAK=1`. */
const KILLS = process.env.LOVAGE_SOAK ? 100 : 8;

const directory = mkdtempSync(join(tmpdir(), "lovage-kill-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test(
  `two workers on one file, one killed every second, ${KILLS} times: nothing is lost`,
  { timeout: KILLS * 3000 + 120_000 },
  async ({ annotate }) => {
    const file = `sqlite://${join(directory, "queue.db")}`;
    const report = await killStorm({ broker: file, backend: file, workers: 2, kills: KILLS, concurrency: 10, taskMs: 20, leaseMs: 1000 });
    await annotate(`${report.executed} executed, ${report.repeated} repeated, ${report.allowed} allowed`);
  },
);
