import { test } from "vitest";
import { dropMemoryBroker, openMemoryBroker } from "../../src/brokers/memory/index.ts";
import { openMemoryBackend } from "../../src/results/memory/index.ts";
import { systemClock } from "../../src/shared/clock.ts";
import { newId } from "../../src/shared/ids.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { Kept } from "../support/kept.ts";
import { brokerConformance } from "./broker.ts";
import { checkAgainstModel } from "./broker-model.ts";

const spec = () => ({ kind: "memory", name: newId() }) as const;
const forgotten = (name: string): AsyncDisposable => ({ [Symbol.asyncDispose]: async () => dropMemoryBroker(name) });

brokerConformance("memory", async () => {
  const kept = new Kept();
  const one = spec();
  const deps = { clock: systemClock };
  kept.keep(forgotten(one.name));
  return {
    open: async (caps) => kept.keep(await openMemoryBroker({ ...one, ...caps }, deps)),
    openBackend: async () => kept.keep(await openMemoryBackend(one, deps)),
    inject: async (queue, raw) => kept.keep(await openMemoryBroker(one, deps)).inject(queue, raw),
    [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
  };
});

test.each([
  ["plain", new Set<string>(), 300],
  ["fair", new Set(["a"]), 100],
])("memory: each message is in one place after any history of %s queues", async (_, fair, runs) => {
  await checkAgainstModel(async () => {
    const kept = new Kept();
    const one = spec();
    kept.keep(forgotten(one.name));
    const clock = new FakeClock();
    const broker = kept.keep(await openMemoryBroker(one, { clock }));
    return { broker, clock, fair, [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose]() };
  }, runs);
});
