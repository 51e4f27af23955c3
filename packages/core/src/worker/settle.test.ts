import { expect, test } from "vitest";

import type { Broker, Delivery, Outgoing, SettleAnswer, Settlement } from "../brokers/broker.ts";
import { BrokerRefusedError, BrokerUnavailableError, PublishError } from "../brokers/errors.ts";
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import { LovageError } from "../shared/errors.ts";
import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { type LoanlessSettlement, type SettlementAnswer, Settler } from "./settle.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function settlement(id: string, extra: Partial<Settlement> = {}): Settlement {
  return {
    delivery: { loan: id, queue: "home" } as unknown as Delivery,
    end: { kind: "ack" },
    results: [result(id)],
    publish: [],
    ...extra,
  };
}

function result(taskId: string): ResultWrite {
  return { taskId, state: "SUCCESS", document: "{}", expiresMs: undefined };
}

/** Writes down what is done, in order. Each step can be made to fail once. */
class Stores {
  readonly calls: string[] = [];
  readonly failures = new Map<string, unknown>();
  answers: (ids: string[]) => readonly SettleAnswer[] = (ids) => ids.map(() => "settled");
  hold: Promise<void> | undefined;
  /** What holds it is refused for good. */
  poison = "";

  settler(mode: "oneStep" | "separate"): { settler: Settler; clock: FakeClock } {
    const clock = new FakeClock();
    const broker = {
      settlesWith: () => mode === "oneStep",
      settle: async (settlements: readonly Settlement[]) => {
        const ids = settlements.map((each) => String(each.delivery.loan));
        this.#step("settle", `${ids.join(",")}${settlements.some((each) => each.results) ? " with results" : ""}`);
        await this.hold;
        if (ids.includes(this.poison)) throw new BrokerRefusedError("redis://x", "WRONGTYPE");
        return this.answers(ids);
      },
      publish: async (messages: readonly Outgoing[]) => this.#step("publish", messages.map((each) => each.routingKey).join(",")),
    };
    const backend = { store: async (writes: readonly ResultWrite[]) => this.#step("store", writes.map((each) => each.taskId).join(",")) };
    const settler = new Settler({
      broker: broker as unknown as Broker,
      backend: backend as unknown as ResultBackend,
      clock,
      random: () => 0.5,
      logger: silentLogger,
    });
    return { settler, clock };
  }

  #step(name: string, what: string): void {
    this.calls.push(`${name} ${what}`);
    const failure = this.failures.get(name);
    this.failures.delete(name);
    if (failure !== undefined) throw failure;
  }
}

function hear(settler: Settler, settlements: readonly (Settlement | LoanlessSettlement)[]): SettlementAnswer[] {
  const answers: SettlementAnswer[] = [];
  for (const [index, each] of settlements.entries()) settler.add(each, { settled: (answer) => (answers[index] = answer) });
  return answers;
}

test("all that ends in one turn of the event loop is one call, and each hears its own answer", async () => {
  const stores = new Stores();
  stores.answers = (ids) => ids.map((id) => (id === "b" ? "lost" : "settled"));
  const { settler } = stores.settler("oneStep");
  const answers = hear(
    settler,
    ["a", "b", "c"].map((id) => settlement(id)),
  );
  await settler.whenIdle();
  expect(stores.calls).toEqual(["settle a,b,c with results"]);
  expect(answers).toEqual(["settled", "lost", "settled"]);
});

test("64 are settled before the turn ends, so that the broker works while the rest comes", async () => {
  const stores = new Stores();
  const { settler } = stores.settler("oneStep");
  const sizes = (): readonly number[] => stores.calls.map((call) => call.split(",").length);
  const ids = Array.from({ length: 150 }, (_, i) => String(i));
  hear(
    settler,
    ids.map((id) => settlement(id)),
  );
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
  expect(sizes()).toEqual([64, 64]);
  await settler.whenIdle();
  expect(sizes()).toEqual([64, 64, 22]);
});

test("where the stores are apart: results, then what follows, then the loans' ends", async () => {
  const stores = new Stores();
  const { settler } = stores.settler("separate");
  const follow = { message: {} as never, exchange: "", routingKey: "next" };
  hear(settler, [settlement("a", { publish: [follow] }), settlement("b")]);
  await settler.whenIdle();
  expect(stores.calls).toEqual(["store a,b", "publish next", "settle a,b"]);
});

const to = (routingKey: string): Outgoing => ({ message: {} as never, exchange: "", routingKey });

test("of a batch of follow-ups that the broker took in part, only the rest is sent again", async () => {
  const stores = new Stores();
  const { settler, clock } = stores.settler("separate");
  const cause = new BrokerUnavailableError("redis://x");
  stores.failures.set("publish", new PublishError("redis://x", ["held", "refused", "unknown", "held"], cause));
  const answers = hear(settler, [settlement("a", { publish: [to("1"), to("2")] }), settlement("b", { publish: [to("3"), to("4")] })]);
  await clock.advance(5000);
  expect(stores.calls).toEqual(["store a,b", "publish 1,2,3,4", "publish 2,3", "settle a,b"]);
  expect(answers).toEqual(["settled", "settled"]);
});

test("a follow-up that no queue is bound for goes to the queue of the task that it follows from", async () => {
  const stores = new Stores();
  const { settler, clock } = stores.settler("separate");
  const cause = new BrokerRefusedError("redis://x", "no queue is bound");
  stores.failures.set("publish", new PublishError("redis://x", ["held", "refused"], cause));
  hear(settler, [settlement("a", { publish: [to("1"), { ...to("2"), exchange: "gone" }] })]);
  await clock.advance(5000);
  expect(stores.calls).toEqual(["store a", "publish 1,2", "publish home", "settle a"]);
});

test("a step that fails is tried again until it succeeds, before the next one", async () => {
  const stores = new Stores();
  stores.failures.set("store", new Error("away"));
  stores.failures.set("settle", new Error("away too"));
  const { settler, clock } = stores.settler("separate");
  const answers = hear(settler, [settlement("a")]);
  await clock.advance(5000);
  expect(stores.calls).toEqual(["store a", "store a", "settle a", "settle a"]);
  expect(answers).toEqual(["settled"]);
  expect(clock.pendingTimers).toBe(0);
});

test("a result that is refused for good does not hold up the others", async () => {
  class TooLarge extends LovageError {
    readonly code = "TOO_LARGE";
  }
  const stores = new Stores();
  const { settler, clock } = stores.settler("separate");
  stores.failures.set("store", new TooLarge("one of them"));
  const answers = hear(settler, [settlement("a"), settlement("b")]);
  await clock.advance(0);
  expect(stores.calls).toEqual(["store a,b", "store a", "store b", "settle a,b"]);
  expect(answers).toEqual(["settled", "settled"]);
});

test("without a loan there is nothing to end: results and follow-ups only", async () => {
  const stores = new Stores();
  const { settler } = stores.settler("oneStep");
  const answers = hear(settler, [{ delivery: undefined, queue: "celery", results: [result("early")], publish: [] }, settlement("late")]);
  await settler.whenIdle();
  expect(stores.calls.toSorted()).toEqual(["settle late with results", "store early"]);
  expect(answers).toEqual(["settled", "settled"]);
});

test("at most four batches are on the way; what ends meanwhile goes with the next", async () => {
  const stores = new Stores();
  let release = (): void => {};
  stores.hold = new Promise((resolve) => (release = resolve));
  const { settler } = stores.settler("oneStep");
  for (let id = 0; id < 7; id++) {
    hear(settler, [settlement(String(id))]);
    await turn();
  }
  expect(stores.calls).toHaveLength(4);
  release();
  await settler.whenIdle();
  expect(stores.calls[4]).toBe("settle 4,5,6 with results");
});

test("what is abandoned is told so, and nothing is left waiting", async () => {
  const stores = new Stores();
  const { settler, clock } = stores.settler("separate");
  stores.failures.set("store", new Error("away"));
  const answers = hear(settler, [settlement("a")]);
  await clock.advance(0);
  settler.abandon();
  await settler.whenIdle();
  expect(answers).toEqual(["abandoned"]);
  expect(clock.pendingTimers).toBe(0);
});

test.each(["oneStep", "separate"] as const)(
  "one that is refused for good holds up no other (%s), and is tried again until it is taken",
  async (mode) => {
    const stores = new Stores();
    stores.poison = "bad";
    const { settler, clock } = stores.settler(mode);
    const answers = hear(settler, [settlement("a"), settlement("bad", { publish: [to("next")] }), settlement("b")]);
    await clock.advance(10_000);
    expect(answers).toEqual(["settled", undefined, "settled"]);
    await settler.whenIdle(); // a stop does not wait for it
    stores.poison = "";
    await clock.advance(10_000);
    expect(answers).toEqual(["settled", "settled", "settled"]);
    expect(stores.calls.filter((call) => call.startsWith("publish"))).toHaveLength(mode === "separate" ? 1 : 0);
    expect(clock.pendingTimers).toBe(0);
  },
);

test("one that the broker says it refuses is tried again, and is abandoned with the rest", async () => {
  const stores = new Stores();
  stores.answers = (ids) => ids.map((id) => (id === "bad" ? "refused" : "settled"));
  const { settler, clock } = stores.settler("oneStep");
  const answers = hear(settler, [settlement("a"), settlement("bad")]);
  await clock.advance(20_000);
  expect(answers).toEqual(["settled"]);
  settler.abandon();
  await clock.advance(0);
  expect(answers).toEqual(["settled", "abandoned"]);
  expect(clock.pendingTimers).toBe(0);
});
