import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://long-work-example";
process.env.CELERY_RESULT_BACKEND = "memory://long-work-example";
const { app } = await import("../tasks.ts");
const { countdown, customers, importLines, indexed, reindex } = await import("../iteration.ts");
const { digest, geocode, inserts, record, sent, table } = await import("../batches.ts");

const worker = new Worker(app, { concurrency: 10 });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("iterations go through all their steps", async () => {
  expect(await (await reindex.delay()).get({ timeout: "10s" })).toBe(customers.length);
  expect(indexed).toEqual(customers.map(({ id }) => id));
  expect(await (await countdown.delay(3)).get({ timeout: "10s" })).toEqual([3, 2, 1]);
  const directory = mkdtempSync(join(tmpdir(), "lovage-lines-"));
  try {
    writeFileSync(join(directory, "lines"), "a\nb\nc\n");
    expect(await (await importLines.delay(join(directory, "lines"))).get({ timeout: "10s" })).toBe(3);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("rows are inserted many at a time, and each address has its own answer", async () => {
  const rows = Array.from({ length: 250 }, (_, amount) => ({ sku: "a", amount }));
  const results = await record.map(rows.map((row) => [row]));
  await Promise.all(results.map((result) => result.get({ timeout: "10s" })));
  expect(table.map(({ amount }) => amount).toSorted((a, b) => a - b)).toEqual(rows.map(({ amount }) => amount));
  expect(inserts.length).toBeLessThanOrEqual(10);
  const [good, bad] = await geocode.map([["Main St 1"], ["?"]]);
  expect(await good?.get({ timeout: "10s" })).toBe("9,0");
  await expect(bad?.get({ timeout: "10s" })).rejects.toThrow("no such address: ?");
});

test("what happened to one user comes in one mail", async () => {
  const results = await digest.map([["ann", "a comment"], ["bob", "a like"], ["ann", "a like"]]); // prettier-ignore
  await Promise.all(results.map((result) => result.get({ timeout: "20s" })));
  expect(sent.toSorted()).toEqual(["ann: a comment, a like", "bob: a like"]);
});
