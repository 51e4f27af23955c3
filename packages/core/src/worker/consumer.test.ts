import { expect, test } from "vitest";

import type { Broker, ConsumeOptions, Delivery } from "../brokers/broker.ts";
import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { Consumer } from "./consumer.ts";
import { LoanCredit } from "./credit.ts";

type Session = (options: ConsumeOptions) => AsyncGenerator<readonly Delivery[], void, undefined>;

function consumerOf(sessions: Session[], maxRestarts: number | null = null) {
  const clock = new FakeClock();
  const batches: (readonly Delivery[])[] = [];
  const stale: (readonly Delivery[])[] = [];
  let consumed = 0;
  const credits: number[] = [];
  const consume = (_: unknown, options: ConsumeOptions): ReturnType<Session> => {
    credits.push(options.credit.free());
    return (sessions[consumed++] ?? waitForEnd)(options);
  };
  const broker = { location: "fake://", consume };
  const credit = new LoanCredit({ busy: 10, held: 20 });
  const consumer = new Consumer({
    broker: broker as unknown as Broker,
    fairQueues: new Set(),
    queues: ["q"],
    order: undefined,
    owner: "w",
    credit,
    paused: { isAny: false, has: () => false, onChange: () => () => undefined },
    clock,
    random: () => 0.5,
    logger: silentLogger,
    maxRestarts,
    onBatch: (batch) => batches.push(batch),
    onStaleBatch: (batch) => stale.push(batch),
  });
  return { clock, consumer, batches, stale, credit, sessionsBegun: () => consumed, credits };
}

// oxlint-disable-next-line require-yield -- a session in which nothing arrives
async function* waitForEnd({ signal, events }: ConsumeOptions): AsyncGenerator<readonly Delivery[], void, undefined> {
  events?.connected?.();
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

// oxlint-disable-next-line require-yield -- it fails before anything arrives
async function* fail(): AsyncGenerator<readonly Delivery[], void, undefined> {
  throw new Error("the broker is away");
}

test("a consumer that fails is started again until it consumes", async () => {
  const { clock, consumer, sessionsBegun } = consumerOf([fail, fail, fail]);
  const stop = new AbortController();
  const run = consumer.run(stop.signal);
  await clock.advance(0);
  expect(consumer.isConsuming).toBe(false);
  await clock.advance(10_000);
  expect(sessionsBegun()).toBe(4);
  expect(consumer.isConsuming).toBe(true);
  stop.abort();
  await run;
  expect(clock.pendingTimers).toBe(0);
});

test("one that ends by itself is not left ended", async () => {
  const { clock, consumer, sessionsBegun } = consumerOf([async function* () {}]);
  const stop = new AbortController();
  const run = consumer.run(stop.signal);
  await clock.advance(1000);
  expect(sessionsBegun()).toBe(2);
  stop.abort();
  await run;
});

test("it gives up after as many failures in a row as allowed", async () => {
  const { clock, consumer, sessionsBegun } = consumerOf([fail, fail, fail, fail, fail], 2);
  const run = consumer.run(new AbortController().signal);
  const failed = expect(run).rejects.toThrow("the broker is away");
  await clock.advance(30_000);
  await failed;
  expect(sessionsBegun()).toBe(3);
});

test("consuming is believed only as long as answers are seen", async () => {
  let events: ConsumeOptions["events"];
  const { clock, consumer, credit } = consumerOf([
    (options) => {
      events = options.events;
      return waitForEnd(options);
    },
  ]);
  const stop = new AbortController();
  const run = consumer.run(stop.signal);
  await consumer.whenConsuming();
  await clock.advance(9000);
  events?.alive?.();
  await clock.advance(9000);
  expect(consumer.isConsuming).toBe(true);
  await clock.advance(1000);
  expect(consumer.isConsuming).toBe(false); // connected, says the library; but nothing has answered for ten seconds
  for (let i = 0; i < 10; i++) credit.take();
  expect(consumer.isConsuming).toBe(false); // nor is it believed because no slot is free
  events?.alive?.();
  expect(consumer.isConsuming).toBe(true);
  events?.disconnected?.(new Error("gone"));
  expect(consumer.isConsuming).toBe(false);
  stop.abort();
  await run;
});

test("after it started over, what the broker lent before is not taken for this worker's any more", async () => {
  const [before, after] = ["before", "after"].map((loan) => ({ loan }) as unknown as Delivery);
  let answer: (() => void) | undefined;
  const { clock, consumer, batches, stale, sessionsBegun } = consumerOf([
    async function* ({ events }) {
      events?.connected?.();
      await new Promise<void>((resolve) => (answer = resolve)); // an answer that is on its way while the lease is lost
      yield [before as Delivery];
    },
    async function* (options) {
      yield [after as Delivery];
      yield* waitForEnd(options);
    },
  ]);
  const stop = new AbortController();
  const run = consumer.run(stop.signal);
  await consumer.whenConsuming();
  consumer.startOver();
  answer?.();
  await clock.advance(0);
  expect({ batches, stale }).toEqual({ batches: [[after]], stale: [[before]] });
  expect(sessionsBegun()).toBe(2);
  stop.abort();
  await run;
  expect(clock.pendingTimers).toBe(0);
});

test("while it is paused nothing is asked for, and what arrives late is given back", async () => {
  const late = { loan: "late" } as unknown as Delivery;
  let answer: (() => void) | undefined;
  const { clock, consumer, batches, stale, sessionsBegun, credits } = consumerOf([
    async function* ({ events }) {
      events?.connected?.();
      await new Promise<void>((resolve) => (answer = resolve));
      yield [late];
    },
  ]);
  const stop = new AbortController();
  const run = consumer.run(stop.signal);
  await consumer.whenConsuming();
  const paused = consumer.pause();
  let isPaused = false;
  void paused.then(() => (isPaused = true));
  await clock.advance(0);
  expect(isPaused).toBe(false); // the broker's consumer has not ended yet
  answer?.();
  await paused;
  expect({ batches, stale }).toEqual({ batches: [], stale: [[late]] });
  await clock.advance(60_000);
  expect(sessionsBegun()).toBe(2); // one more looks for what the first may have left behind, and takes nothing
  expect(credits.at(-1)).toBe(0);
  expect(consumer.isConsuming).toBe(false);
  consumer.resume();
  await consumer.whenConsuming();
  expect(sessionsBegun()).toBe(3);
  expect(credits.at(-1)).toBe(10);
  await consumer.pause();
  stop.abort();
  await run;
  expect(clock.pendingTimers).toBe(0);
});

test("a pause that is taken back before the broker's consumer has ended leaves nobody waiting", async () => {
  let answer: (() => void) | undefined;
  const { clock, consumer } = consumerOf([
    // oxlint-disable-next-line require-yield -- nothing arrives
    async function* ({ events }) {
      events?.connected?.();
      await new Promise<void>((resolve) => (answer = resolve));
    },
  ]);
  const stop = new AbortController();
  const run = consumer.run(stop.signal);
  await consumer.whenConsuming();
  let isOver = false;
  void consumer.pause().then(() => (isOver = true));
  consumer.resume();
  answer?.();
  await clock.advance(1000);
  expect(consumer.isConsuming).toBe(true);
  expect(isOver).toBe(true);
  stop.abort();
  await run;
});
