import { test } from "vitest";
import { openSqliteBroker } from "../../src/brokers/sqlite/index.ts";
import { MessageRows } from "../../src/brokers/sqlite/message-rows.ts";
import { SqliteBroker } from "../../src/brokers/sqlite/sqlite-broker.ts";
import { openSqliteBackend } from "../../src/results/sqlite/index.ts";
import { systemClock, systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { openUnshared } from "../../src/stores/sqlite/open.ts";
import { sqliteSpec } from "../../src/stores/sqlite/spec.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { Kept } from "../support/kept.ts";
import { temporaryDatabase } from "../support/sqlite.ts";
import { brokerConformance } from "./broker.ts";
import { checkAgainstModel } from "./broker-model.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };

for (const { name, shared } of [
  { name: "sqlite, all in one process", shared: true },
  { name: "sqlite, each by a connection of its own", shared: false },
]) {
  brokerConformance(name, async () => {
    const kept = new Kept();
    const { path } = kept.keep(await temporaryDatabase());
    const plain = sqliteSpec(path);
    let isFirst = true;
    return {
      open: async (caps) => {
        const spec = { ...plain, ...caps };
        const lease = !shared && !isFirst ? await openUnshared(spec, deps) : undefined;
        isFirst = false;
        return kept.keep(lease === undefined ? await openSqliteBroker(spec, deps) : new SqliteBroker(spec, lease, deps));
      },
      openBackend: async () => kept.keep(await openSqliteBackend(plain, deps)),
      inject: async (queue, raw) => {
        await using lease = await openUnshared(plain, deps);
        const rows = new MessageRows(lease.file);
        await lease.file.write(() => rows.post([{ text: raw, exchange: "", routingKey: queue, step: 0 }]), plain);
        lease.file.bell.ring("ready");
      },
      [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
    };
  });
}

test.each([
  ["plain", new Set<string>(), 100],
  ["fair", new Set(["a"]), 25],
])("sqlite: each message is in one place after any history of %s queues", { timeout: 60_000 }, async (_, fair, runs) => {
  await checkAgainstModel(async () => {
    const kept = new Kept();
    const { path } = kept.keep(await temporaryDatabase());
    const clock = new FakeClock();
    const broker = kept.keep(await openSqliteBroker(sqliteSpec(path), { ...deps, clock }));
    return { broker, clock, fair, [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose]() };
  }, runs);
});
