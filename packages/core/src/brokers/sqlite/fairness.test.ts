import { expect, test } from "vitest";

import { idOf, take, toQueue } from "../../../test/support/broker-hands.ts";
import { temporaryDatabase } from "../../../test/support/sqlite.ts";
import { FAIR_KEY_HEADER } from "../../protocol/fair-key.ts";
import { systemClock, systemRandom } from "../../shared/clock.ts";
import { silentLogger } from "../../shared/log.ts";
import { openUnshared } from "../../stores/sqlite/open.ts";
import { sqliteSpec } from "../../stores/sqlite/spec.ts";
import { openSqliteBroker } from "./index.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };

test("a queue that nobody takes fairly any more gets back what was sorted, but for what is paused", async () => {
  await using database = await temporaryDatabase();
  const spec = sqliteSpec(database.path);
  await using broker = await openSqliteBroker(spec, deps);
  await using hand = await openUnshared(spec, deps);
  const keyed = ["a1", "a2", "a3", "b1", "b2", "p1"].map((id) => toQueue("q", { id, headers: { [FAIR_KEY_HEADER]: id.slice(0, 1) } }));
  await broker.publish(keyed);
  await broker.fairness?.set("q", "p", { paused: { by: "ann", reason: "", at: 1 } });
  const fair = new Set(["q"]);
  expect((await take(broker, ["q"], 2, { fair })).map(idOf)).toEqual(["a1", "b1"]);
  const sorted = async (): Promise<number> => {
    const keys = (await broker.fairness?.page("q", { limit: 10 }))?.keys ?? [];
    return keys.reduce((sum, { waiting }) => sum + waiting, 0);
  };
  expect(await broker.fairness?.tidy()).toBe(true);
  expect(await sorted()).toBe(4);
  const longAgo = (): void => void hand.file.sql("fair.look").run(1, systemClock.now() - 61_000);
  await hand.file.write(longAgo, spec);
  expect(await broker.fairness?.tidy()).toBe(true);
  expect(await sorted()).toBe(1);
  expect((await take(broker, ["q"], 3, { worker: "plain" })).map(idOf).toSorted()).toEqual(["a2", "a3", "b2"]);
  await broker.fairness?.set("q", "p", { paused: null });
  expect((await take(broker, ["q"], 1, { fair })).map(idOf)).toEqual(["p1"]);
  await hand.file.write(longAgo, spec);
  await broker.fairness?.tidy();
  expect(await broker.fairness?.tidy()).toBe(false);
});
