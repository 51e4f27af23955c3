/** Unique tasks from call to end, with the built package, a worker and the embedded broker. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { expect, test } from "vitest";

test.each([{ acksLate: true }, { acksLate: false }])(
  "1,000 calls give one task, and its end frees the lock: %o",
  async ({ acksLate }) => {
    const folder = await mkdtemp(join(tmpdir(), "lovage-unique-"));
    const url = `sqlite://${join(folder, "unique.db")}`;
    const app = new Lovage("unique", { brokerUrl: url, resultBackend: url });
    try {
      const runs: string[] = [];
      const once = app.task({
        name: "once",
        acksLate,
        unique: { key: (key: string) => key },
        run: async (_, key: string) => runs.push(key),
      });
      const fails = app.task({ name: "fails", acksLate, unique: { until: "started" }, run: async () => Promise.reject(new Error("no")) });
      const calls = await Promise.all(Array.from({ length: 1000 }, () => once.delay("a")));
      expect(new Set(calls.map(({ id }) => id)).size).toBe(1);
      expect(calls.filter(({ isDuplicate }) => !isDuplicate)).toHaveLength(1);
      const failing = await fails.delay();
      expect((await fails.delay()).isDuplicate).toBe(true);
      const worker = new Worker(app);
      await worker.start();
      expect(await calls[999]?.get({ timeout: "30s" })).toBe(1);
      await expect(failing.get({ timeout: "30s" })).rejects.toThrow("no");
      await expect.poll(async () => await app.unique.list(), { timeout: 10_000 }).toEqual([]);
      const again = await once.delay("a");
      expect([again.isDuplicate, await again.get({ timeout: "30s" })]).toEqual([false, 2]);
      await worker.stop();
    } finally {
      await app.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
  60_000,
);
