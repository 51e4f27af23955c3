import { expect, test } from "vitest";
import type { Broker, Outgoing } from "../brokers/broker.ts";
import { BrokerRefusedError, PublishError } from "../brokers/errors.ts";
import type { Uniques } from "../brokers/uniques.ts";
import type { UniqueRule } from "../protocol/unique.ts";
import { sleep } from "../shared/clock.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { UnsupportedByBrokerError } from "./errors.ts";
import { publishUnique } from "./unique-publish.ts";

const RULE: UniqueRule = { mode: "done", name: "t:1", ttlMs: 1000, waitMs: 0, maxWaitMs: 0 };

function outgoing(id: string, unique?: UniqueRule): Outgoing {
  const message = { headers: { id } } as unknown as Outgoing["message"];
  return { exchange: "", routingKey: "q", message, ...(unique && { unique }) };
}

function fakeBroker(publish: Uniques["publish"] | undefined, plain: Broker["publish"] = async () => undefined): Broker {
  return { kind: "fake", location: "fake://", publish: plain, ...(publish && { uniques: { publish } }) } as unknown as Broker;
}

test("each message has its own fate, and each duplicate is told of", async () => {
  const broker = fakeBroker(
    async ({ message }) => {
      const id = String(message.headers["id"]);
      if (id === "refused") throw new BrokerRefusedError("fake://", "no");
      if (id === "unknown") throw new Error("broke");
      return { id: "holder", isDuplicate: id === "second" };
    },
    async (messages) => {
      throw new PublishError("fake://", ["held", "refused"].slice(0, messages.length) as ["held", "refused"], new Error("full"));
    },
  );
  const messages = [
    outgoing("first", RULE),
    outgoing("plain"),
    outgoing("refused", RULE),
    outgoing("second", RULE),
    outgoing("unknown", RULE),
    outgoing("plain too"),
  ];
  const duplicates: unknown[] = [];
  const published = publishUnique(broker, messages, {}, (...told) => duplicates.push(told));
  await expect(published).rejects.toMatchObject({ fates: ["held", "held", "refused", "held", "unknown", "refused"] });
  expect(duplicates).toEqual([[3, "holder"]]);
});

test("a broker without locks refuses, and sends nothing of it", async () => {
  const sent: unknown[] = [];
  const broker = fakeBroker(undefined, async (messages) => void sent.push(messages));
  await expect(publishUnique(broker, [outgoing("a", RULE), outgoing("b")], {})).rejects.toThrow(UnsupportedByBrokerError);
  expect(sent).toEqual([]);
});

test("many that wait with one signal are no leak", async () => {
  const clock = new FakeClock();
  const warnings: Error[] = [];
  const warn = (warning: Error): unknown => warnings.push(warning);
  process.on("warning", warn);
  try {
    const broker = fakeBroker(async (_, { signal } = {}) => {
      await sleep(clock, 1, signal);
      return { id: "a", isDuplicate: true };
    });
    const messages = Array.from({ length: 50 }, (_, i) => outgoing(`m${i}`, RULE));
    const published = publishUnique(broker, messages, { signal: new AbortController().signal });
    await clock.advance(1000); // one after the other, or together
    await published;
  } finally {
    process.off("warning", warn);
  }
  expect(warnings).toEqual([]);
});
