/** What every broker that keeps envelopes does with headers written into a message on loan. */
import { expect, test } from "vitest";

import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { makeMessage, settleAll, take } from "../support/broker-hands.ts";

/** The stand of a test, as far as these need it. */
export interface CheckpointHands {
  broker(): Broker;
  open(): Promise<Broker>;
  sweepAway(worker: string, sweeper: Broker): Promise<unknown>;
  readonly leaseMs: number;
}

const HEADER = "lovage_iteration";
const LONG = 12345678901234567890n;

export function checkpointsConformance({ broker, open, sweepAway, leaseMs }: CheckpointHands): void {
  const lend = async (worker = "one"): Promise<Delivery> => {
    await broker().publish([{ message: makeMessage({ id: "a", headers: { long: LONG } }), exchange: "", routingKey: "q" }]);
    await broker().leases?.renew(worker, leaseMs);
    const [delivery] = await take(broker(), ["q"], 1, { worker });
    return delivery as Delivery;
  };
  const withHeader = (delivery: Delivery, text: string): Delivery["open"] extends () => { message: infer M } ? M : never => {
    const { message } = delivery.open();
    return { ...message, headers: { ...message.headers, [HEADER]: text } };
  };
  const again = async (from = broker(), worker = "two"): Promise<Delivery> => (await take(from, ["q"], 1, { worker }))[0] as Delivery;

  test("a checkpoint is in the message that a dead worker's loan becomes, and all else is as it was", async () => {
    const delivery = await lend();
    for (const text of ["first", "second"]) expect(await broker().checkpoints?.write(delivery, withHeader(delivery, text))).toBe("settled");
    const other = await open();
    await sweepAway("one", other);
    const back = await again(other);
    expect(back.losses).toBe(1);
    expect(back.open().info.redelivered).toBe(true);
    expect(back.open().message.headers).toMatchObject({ ...delivery.open().message.headers, [HEADER]: "second" });
  });

  test("a checkpoint stays when the message is put back as it was, and goes with one that is acknowledged", async () => {
    const delivery = await lend();
    await broker().checkpoints?.write(delivery, withHeader(delivery, "here"));
    await settleAll(broker(), [delivery], { kind: "putBack" });
    const back = await again();
    expect(back.open().message.headers[HEADER]).toBe("here");
    await settleAll(broker(), [back]);
    expect(await broker().depth(["q"])).toMatchObject([{ ready: 0, parked: 0, dead: 0 }]);
  });

  test("a checkpoint of what was lost before and has begun stays, however it is returned", async () => {
    await settleAll(broker(), [await lend()], { kind: "requeue", to: "front", isLoss: true });
    const delivery = await again(broker(), "one");
    await broker().checkpoints?.begin(delivery);
    await broker().checkpoints?.write(delivery, withHeader(delivery, "here"));
    await settleAll(broker(), [delivery], { kind: "putBack" });
    const back = await again();
    expect([back.losses, back.open().message.headers[HEADER]]).toEqual([1, "here"]);
    await broker().checkpoints?.begin(back);
    await broker().checkpoints?.write(back, withHeader(back, "there"));
    await broker().leases?.renew("two", leaseMs);
    const other = await open();
    await sweepAway("two", other);
    const last = await again(other, "three");
    expect([last.losses, last.open().message.headers[HEADER]]).toEqual([2, "there"]);
  });

  test("a checkpoint of a loan that has ended writes nothing", async () => {
    const delivery = await lend();
    await settleAll(broker(), [delivery], { kind: "putBack" });
    expect(await broker().checkpoints?.write(delivery, withHeader(delivery, "late"))).toBe("lost");
    const back = await again();
    expect(back.open().message.headers[HEADER]).toBeUndefined();
    expect(await broker().checkpoints?.write(delivery, withHeader(delivery, "later"))).toBe("lost");
    expect(await broker().checkpoints?.write(back, withHeader(back, "now"))).toBe("settled");
  });

  test("a checkpoint of a worker whose loan was swept writes nothing", async () => {
    const delivery = await lend();
    const other = await open();
    await sweepAway("one", other);
    expect(await broker().checkpoints?.write(delivery, withHeader(delivery, "late"))).toBe("lost");
    expect((await again(other)).open().message.headers[HEADER]).toBeUndefined();
  });

  test.each(["front", "back"] as const)("a message that goes to the %s may take changed headers along", async (to) => {
    const delivery = await lend();
    await settleAll(broker(), [delivery], { kind: "requeue", to, isLoss: true, message: withHeader(delivery, "as far as this") });
    const back = await again();
    expect(back.losses).toBe(1);
    expect(back.open().info.redelivered).toBe(true);
    expect(back.open().message.headers).toMatchObject({ ...delivery.open().message.headers, [HEADER]: "as far as this" });
    await settleAll(broker(), [back], { kind: "requeue", to, message: withHeader(back, "further") });
    const last = await again();
    expect([last.losses, last.open().message.headers[HEADER]]).toEqual([1, "further"]);
  });
}
