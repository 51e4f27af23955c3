import { test } from "vitest";
import { dropMemoryBroker, openMemoryBroker } from "../../src/brokers/memory/index.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { newId } from "../../src/shared/ids.ts";
import { checkAgainstModel } from "./broker-model.ts";

test("memory: each message is in one place after any history", async () => {
  await checkAgainstModel(async () => {
    const name = newId();
    const clock = new FakeClock();
    const broker = await openMemoryBroker({ kind: "memory", name }, { clock });
    const close = async (): Promise<void> => {
      await broker[Symbol.asyncDispose]();
      dropMemoryBroker(name);
    };
    return { broker, clock, [Symbol.asyncDispose]: close };
  }, 300);
});
