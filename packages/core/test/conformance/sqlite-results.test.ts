import { expect, test } from "vitest";
import { openSqliteBackend } from "../../src/results/sqlite/index.ts";
import { SqliteBackend } from "../../src/results/sqlite/sqlite-backend.ts";
import { systemClock, systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { openUnshared } from "../../src/stores/sqlite/open.ts";
import { sqliteSpec } from "../../src/stores/sqlite/spec.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { Kept } from "../support/kept.ts";
import { temporaryDatabase } from "../support/sqlite.ts";
import { documentOf, resultBackendConformance } from "./result-backend.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };

resultBackendConformance("sqlite", async () => {
  const kept = new Kept();
  const { path } = kept.keep(await temporaryDatabase());
  return {
    open: async () => kept.keep(await openSqliteBackend(sqliteSpec(path), deps)),
    [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
  };
});

/** `few` is less than what is stored meanwhile, `many` is more: the new rows are looked up or looked through. */
for (const { name, watched, noise } of [
  { name: "few watches, many results", watched: 3, noise: 500 },
  { name: "many watches, few results", watched: 500, noise: 0 },
]) {
  test(`what another connection stores is told to those who watch it, and to nobody else: ${name}`, async () => {
    await using kept = new Kept();
    const spec = sqliteSpec(kept.keep(await temporaryDatabase()).path);
    const backend = kept.keep(await openSqliteBackend(spec, deps));
    const other = kept.keep(new SqliteBackend(spec, await openUnshared(spec, deps)));
    const seen = new Map<string, string[]>();
    const watch = async (taskId: string): Promise<void> => {
      await backend.watch(taskId, (document) => void seen.set(taskId, [...(seen.get(taskId) ?? []), String(document)]));
    };
    const ids = Array.from({ length: watched }, (_, at) => `t${at}`);
    await Promise.all(ids.map(watch));
    const write = (taskId: string, result: unknown) => ({
      taskId,
      state: "STARTED",
      document: documentOf(taskId, "STARTED", result),
      expiresMs: 60_000,
    });
    for (const round of [1, 2]) {
      const noisy = Array.from({ length: noise }, (_, at) => write(`noise${at}`, round));
      await other.store([...noisy, write("t0", round), write("t2", round)]);
      const told = ["t0", "t2"].map((id) => documentOf(id, "STARTED", round));
      await eventually("told", () => told.every((document) => [...seen.values()].some((documents) => documents.at(-1) === document)));
    }
    expect([...seen.keys()].toSorted()).toEqual(["t0", "t2"]);
    expect(seen.get("t0")).toEqual([1, 2].map((round) => documentOf("t0", "STARTED", round)));
  });
}

test("what has expired makes room for what is new, without anybody cleaning up", async () => {
  await using kept = new Kept();
  const clock = new FakeClock();
  const backend = kept.keep(await openSqliteBackend(sqliteSpec(kept.keep(await temporaryDatabase()).path), { ...deps, clock }));
  const write = (taskId: string) => ({ taskId, state: "SUCCESS", document: documentOf(taskId, "SUCCESS"), expiresMs: 1000 });
  await backend.store(Array.from({ length: 100 }, (_, at) => write(`old${at}`)));
  await clock.advance(1000);
  await backend.store(Array.from({ length: 40 }, (_, at) => write(`new${at}`)));
  expect(await backend.cleanup()).toBe(20);
  expect(await backend.fetch(["old0", "new0"])).toEqual([undefined, documentOf("new0", "SUCCESS")]);
});
