import { test } from "vitest";
import { openSqliteBroker } from "../../src/brokers/sqlite/index.ts";
import { systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { sqliteSpec } from "../../src/stores/sqlite/spec.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { temporaryDatabase } from "../support/sqlite.ts";
import { checkAgainstModel } from "./broker-model.ts";

test("sqlite: each message is in one place after any history", { timeout: 60_000 }, async () => {
  await checkAgainstModel(async () => {
    const database = await temporaryDatabase();
    const clock = new FakeClock();
    const broker = await openSqliteBroker(sqliteSpec(database.path), { clock, random: systemRandom, logger: silentLogger });
    const close = async (): Promise<void> => {
      await broker[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    };
    return { broker, clock, [Symbol.asyncDispose]: close };
  }, 100);
});
