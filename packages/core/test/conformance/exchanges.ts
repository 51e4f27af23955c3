/** Which queues and subscribers a message comes to, on every broker. Part of `broker.ts`. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { BrokerTimeoutError, PublishError } from "../../src/brokers/errors.ts";
import { makeMessage, take, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import { type BrokerStand, ready, type Scene } from "./scene.ts";

export function exchangesConformance(scene: () => Scene): void {
  let broker: Broker;
  let stand: BrokerStand;
  beforeEach(() => void ({ broker, stand } = scene()));

  describe("exchanges", () => {
    const spec = (queue: string, exchange: string, exchangeType: "direct" | "topic", routingKey: string) => ({
      name: queue,
      exchange,
      exchangeType,
      routingKey,
    });

    test("a direct exchange reaches the queues bound with the very key", async () => {
      await broker.bind([spec("a", "ex", "direct", "k"), spec("b", "ex", "direct", "k"), spec("c", "ex", "direct", "other")]);
      const other = await stand.open();
      await other.publish([{ message: makeMessage({ id: "m" }), exchange: "ex", routingKey: "k" }]);
      expect((await broker.depth(["a", "b", "c"])).map((each) => each.ready)).toEqual([1, 1, 0]);
      const [delivery] = (await take(broker, ["a"], 1)) as [Delivery];
      expect(delivery.open().info).toEqual({ exchange: "ex", routingKey: "k", redelivered: false });
    });

    test("a topic exchange reaches the queues whose pattern matches", async () => {
      await broker.bind([spec("all", "news", "topic", "#"), spec("eu", "news", "topic", "eu.*"), spec("dk", "news", "topic", "eu.dk")]);
      for (const routingKey of ["eu.dk", "eu.se", "us"])
        await broker.publish([{ message: makeMessage({ id: routingKey }), exchange: "news", routingKey }]);
      expect((await broker.depth(["all", "eu", "dk"])).map((each) => each.ready)).toEqual([3, 2, 1]);
    });

    test("a message that no queue is bound for is refused, and the others are held", async () => {
      const messages = [toQueue("q", { id: "a" }), { message: makeMessage({ id: "b" }), exchange: "nowhere", routingKey: "k" }];
      const error: unknown = await broker.publish(messages).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(PublishError);
      expect((error as PublishError).fates).toEqual(["held", "refused"]);
      expect(await ready(broker, "q")).toBe(1);
    });

    test("a publish whose signal has aborted says that nothing was sent", async () => {
      const error: unknown = await broker
        .publish([toQueue("q", { id: "a" })], { signal: AbortSignal.abort(new BrokerTimeoutError("here", "too late")) })
        .catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(PublishError);
      expect((error as PublishError).fates).toEqual(["refused"]);
      expect(await ready(broker, "q")).toBe(0);
    });
  });

  describe("broadcast", () => {
    test("every subscriber gets every message whose key matches, until it ends", async () => {
      if (!broker.broadcast) throw new Error("this broker has no broadcast");
      const other = await stand.open();
      const stop = new AbortController();
      const seen = new Map<string, string[]>([
        ["all", []],
        ["some", []],
        ["else", []],
      ]);
      const listen = async (name: string, on: Broker, exchange: string, pattern: string): Promise<void> => {
        for await (const message of on.broadcast!.subscribe(exchange, pattern, stop.signal))
          seen.get(name)?.push(String(message.headers["id"]));
      };
      const listening = [listen("all", broker, "ev", "#"), listen("some", other, "ev", "task.*"), listen("else", other, "ev2", "#")];
      await eventually("both listen", async () => {
        await broker.broadcast?.publish(makeMessage({ id: "hello" }), "ev", "task.hello");
        return ["all", "some"].every((name) => seen.get(name)?.includes("hello"));
      });
      await broker.broadcast.publish(makeMessage({ id: "worker" }), "ev", "worker.heartbeat");
      await broker.broadcast.publish(makeMessage({ id: "task" }), "ev", "task.sent");
      await eventually("the last arrived", () => ["all", "some"].every((name) => seen.get(name)?.includes("task")));
      expect(seen.get("all")?.filter((id) => id !== "hello")).toEqual(["worker", "task"]);
      expect(seen.get("some")?.filter((id) => id !== "hello")).toEqual(["task"]);
      expect(seen.get("else")).toEqual([]);
      stop.abort();
      await Promise.all(listening);
    });
  });
}
