import { expect, test } from "vitest";
import type { Broker, Outgoing, PublishOptions, QueueSpec } from "../brokers/broker.ts";
import { BrokerRefusedError, BrokerUnavailableError, PublishError } from "../brokers/errors.ts";
import type { Message } from "../protocol/message.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { AppClosedError, PublishFailedError, PublishTimeoutError } from "./errors.ts";
import { Producer, type Sending } from "./producer.ts";
import { declareQueue, type DeclaredQueue } from "./queues.ts";

type Answer = (messages: readonly Outgoing[], signal: AbortSignal) => Promise<void>;

/** A broker that answers each publish as it is told; after the list it takes everything. */
class ScriptedBroker {
  readonly published: string[][] = [];
  readonly bound: string[][] = [];
  readonly answers: Answer[];

  constructor(...answers: Answer[]) {
    this.answers = answers;
  }

  async publish(messages: readonly Outgoing[], options?: PublishOptions): Promise<void> {
    this.published.push(messages.map((each) => String(each.message.headers["id"])));
    const answer = this.answers.shift();
    if (answer) await answer(messages, options?.signal as AbortSignal);
  }

  async bind(queues: readonly QueueSpec[]): Promise<void> {
    this.bound.push(queues.map((queue) => queue.name));
  }
}

const queue = (name: string): DeclaredQueue => declareQueue({ name, options: {} }, "direct");

function sending(id: string, to = "celery"): Sending {
  const message: Message = {
    headers: { id },
    properties: { correlationId: id, replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} },
    contentType: "application/json",
    contentEncoding: "utf-8",
    body: new Uint8Array(100),
  };
  return { outgoing: { message, exchange: "", routingKey: to }, taskId: id, task: "t", queue: queue(to) };
}

function setUp(
  broker: ScriptedBroker,
  options: { readonly open?: () => Promise<Broker>; readonly maxRetries?: number; readonly buffer?: number } = {},
) {
  const clock = new FakeClock();
  const producer = new Producer({
    appName: "test",
    broker: options.open ?? (async () => broker as unknown as Broker),
    location: () => "redis://h:6379/0",
    clock,
    random: () => 0,
    publishTimeoutMs: 5000,
    buffer: { max: options.buffer ?? 0, timeoutMs: 60_000 },
    retry: { maxRetries: options.maxRetries ?? 3, intervalStartMs: 0, intervalStepMs: 200, intervalMaxMs: 1000 },
    declared: [queue("celery"), queue("other")],
  });
  return { clock, producer };
}

/** As `app/calls.ts` does. */
async function send(producer: Producer, sending: Sending): Promise<void> {
  const failure = await producer.hand(sending);
  const error = failure && producer.failureOf(sending, failure);
  if (error) throw error;
}

const unavailable = async (): Promise<never> => {
  throw new BrokerUnavailableError("redis://h:6379/0", new Error("ECONNREFUSED"));
};
const silent: Answer = () => new Promise(() => {});
const answering =
  (error: (messages: readonly Outgoing[]) => unknown): Answer =>
  (messages) =>
    new Promise((_, reject) => reject(error(messages)));

async function failure(sent: Promise<unknown>): Promise<PublishFailedError> {
  const error: unknown = await sent.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PublishFailedError);
  return error as PublishFailedError;
}

test("all messages of one turn go in one publish, later ones in the next", async () => {
  const broker = new ScriptedBroker();
  const { producer } = setUp(broker);
  await Promise.all([send(producer, sending("a")), send(producer, sending("b")), producer.sendMany([sending("c"), sending("d")])]);
  await send(producer, sending("e"));
  expect(broker.published).toEqual([["a", "b", "c", "d"], ["e"]]);
});

test("with nothing under way, many single sends do not wait for the end of the turn", async () => {
  const broker = new ScriptedBroker();
  const { producer } = setUp(broker);
  await Promise.all(Array.from({ length: 100 }, (_, index) => send(producer, sending(String(index)))));
  expect(broker.published.map((ids) => ids.length)).toEqual([64, 36]);
});

test("batches are bounded in number and in bytes", async () => {
  const broker = new ScriptedBroker();
  const { producer } = setUp(broker);
  await producer.sendMany(Array.from({ length: 2500 }, (_, index) => sending(String(index))));
  expect(broker.published.map((ids) => ids.length)).toEqual([1000, 1000, 500]);
  const big = (id: string): Sending => {
    const small = sending(id);
    return { ...small, outgoing: { ...small.outgoing, message: { ...small.outgoing.message, body: new Uint8Array(3 * 1024 * 1024) } } };
  };
  await producer.sendMany([big("x"), big("y"), sending("z")]);
  expect(broker.published.slice(3)).toEqual([["x"], ["y", "z"]]);
});

test("at most four publishes are under way; what comes meanwhile gathers", async () => {
  const held: (() => void)[] = [];
  const wait: Answer = () => new Promise((resolve) => void held.push(resolve));
  const broker = new ScriptedBroker(wait, wait, wait, wait);
  const { producer } = setUp(broker);
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const sent: Promise<void>[] = [];
  for (let index = 0; index < 7; index++) {
    sent.push(send(producer, sending(String(index))));
    await turn();
    await turn();
  }
  expect(broker.published).toEqual([["0"], ["1"], ["2"], ["3"]]);
  for (const release of held) release();
  await Promise.all(sent);
  expect(broker.published.slice(4)).toEqual([["4", "5", "6"]]);
});

test("declared queues are made known before the first publish, others when they come into use, each once", async () => {
  const broker = new ScriptedBroker();
  const { producer } = setUp(broker);
  await send(producer, sending("a", "made"));
  await send(producer, sending("b", "made"));
  await send(producer, sending("c", "later"));
  expect(broker.bound).toEqual([["celery", "other", "made"], ["later"]]);
});

test("what was refused is tried again by the policy: three retries outlast half a second", async () => {
  const down = answering(() => new BrokerUnavailableError("h"));
  const broker = new ScriptedBroker(down, down, down);
  const { producer, clock } = setUp(broker);
  const sent = send(producer, sending("a"));
  await clock.advance(0);
  expect(broker.published.length).toBe(2);
  await clock.advance(600);
  await sent;
  expect(broker.published.length).toBe(4);
  expect(clock.pendingTimers).toBe(0);
});

test("calls of one bulk that say how often to try are tried so, and those that say the same go together", async () => {
  const down = answering(() => new BrokerUnavailableError("h"));
  const broker = new ScriptedBroker(down, down, down);
  const { producer, clock } = setUp(broker);
  const policy = { maxRetries: 1, intervalStartMs: 100, intervalStepMs: 0, intervalMaxMs: 100 };
  const calls: readonly Sending[] = [
    sending("a"),
    { ...sending("b"), retry: null },
    { ...sending("c"), retry: policy },
    { ...sending("d"), retry: { ...policy } },
  ];
  const sent = failure(producer.sendMany(calls));
  await clock.advance(0);
  expect(broker.published).toEqual([["a"], ["b"], ["c", "d"], ["a"]]); // the first policy begins with no pause
  await clock.advance(100);
  expect(broker.published.slice(4)).toEqual([["c", "d"]]);
  expect((await sent).calls.map(({ taskId, fate }) => [taskId, fate])).toEqual([
    ["a", "held"],
    ["b", "refused"],
    ["c", "held"],
    ["d", "held"],
  ]);
});

test("when the retries are used up, the error says that nothing was sent", async () => {
  const { producer, clock } = setUp(new ScriptedBroker(), { open: unavailable, maxRetries: 1 });
  const sent = failure(send(producer, sending("a")));
  await clock.advance(1000);
  const error = await sent;
  expect(error).not.toBeInstanceOf(PublishTimeoutError);
  expect(error).toMatchObject({ transient: true, calls: [{ taskId: "a", task: "t", fate: "refused" }] });
  expect(error.message).toBe("task t[a] was not sent (the broker does not hold it): cannot reach the broker at redis://h:6379/0");
  expect(clock.pendingTimers).toBe(0);
});

test("a refusal that will not pass is not tried again", async () => {
  const broker = new ScriptedBroker(answering(() => new BrokerRefusedError("h", "NOAUTH")));
  const { producer } = setUp(broker);
  expect(await failure(send(producer, sending("a")))).toMatchObject({ transient: false, calls: [{ fate: "refused" }] });
  expect(broker.published.length).toBe(1);
});

test("message by message: held ones resolve, unknown ones are reported and never sent twice", async () => {
  const broker = new ScriptedBroker(
    answering(() => new PublishError("h", ["held", "refused", "unknown"], new BrokerUnavailableError("h"))),
  );
  const { producer } = setUp(broker);
  const sent = ["a", "b", "c"].map((id) => send(producer, sending(id)));
  await sent[0];
  await sent[1];
  expect(await failure(sent[2] as Promise<void>)).toMatchObject({ calls: [{ taskId: "c", fate: "unknown" }] });
  expect(broker.published).toEqual([["a", "b", "c"], ["b"]]);
});

test("the error of a bulk call tells what became of each", async () => {
  const broker = new ScriptedBroker(answering(() => new PublishError("h", ["held", "unknown"], new Error("cut"))));
  const { producer } = setUp(broker);
  const error = await failure(producer.sendMany([sending("a"), sending("b")]));
  expect(error.calls.map((call) => call.fate)).toEqual(["held", "unknown"]);
  expect(error.message).toContain("1 of 2 tasks were not sent for certain");
});

test("an error of the driver's that is not its own leaves the fate unknown", async () => {
  const { producer } = setUp(new ScriptedBroker(answering(() => new TypeError("bug"))));
  expect(await failure(send(producer, sending("a")))).toMatchObject({ calls: [{ fate: "unknown" }], cause: expect.any(TypeError) });
});

test("a broker that never answers costs publishTimeout and no more", async () => {
  const broker = new ScriptedBroker(silent);
  const { producer, clock } = setUp(broker);
  const sent = failure(send(producer, sending("a")));
  await clock.advance(4999);
  expect(broker.published).toEqual([["a"]]);
  await clock.advance(1);
  const error = await sent;
  expect(error).toBeInstanceOf(PublishTimeoutError);
  expect(error).toMatchObject({ code: "PUBLISH_TIMEOUT", calls: [{ fate: "unknown" }] });
  expect(error.message).toContain(
    "task t[a] was not sent for certain to redis://h:6379/0 within 5000 ms (whether the broker holds it is unknown)",
  );
});

test("a broker that cannot even be opened costs no more either, and nothing was sent", async () => {
  const { producer, clock } = setUp(new ScriptedBroker(), { open: () => new Promise(() => {}) });
  const sent = Promise.all(Array.from({ length: 5 }, (_, index) => failure(send(producer, sending(String(index))))));
  await clock.advance(5000);
  for (const error of await sent) expect(error.calls[0]?.fate).toBe("refused");
  expect(clock.pendingTimers).toBe(0);
});

test("messages waiting behind silent publishes expire too, and are never sent", async () => {
  const broker = new ScriptedBroker(silent, silent, silent, silent);
  const { producer, clock } = setUp(broker);
  const sent: Promise<PublishFailedError>[] = [];
  for (let index = 0; index < 6; index++) {
    sent.push(failure(send(producer, sending(String(index)))));
    await clock.advance(0);
  }
  await clock.advance(5000);
  const errors = await Promise.all(sent);
  expect(errors.map((error) => error.calls[0]?.fate)).toEqual(["unknown", "unknown", "unknown", "unknown", "refused", "refused"]);
  expect(broker.published.flat()).toEqual(["0", "1", "2", "3"]);
});

test("silent publishes that have expired do not stand in the way of later messages", async () => {
  const broker = new ScriptedBroker(silent, silent, silent, silent);
  const { producer, clock } = setUp(broker);
  const lost: Promise<PublishFailedError>[] = [];
  for (let index = 0; index < 4; index++) {
    lost.push(failure(send(producer, sending(String(index)))));
    await clock.advance(1);
  }
  await clock.advance(5000);
  await Promise.all(lost);
  await send(producer, sending("later"));
  expect(broker.published.at(-1)).toEqual(["later"]);
});

test("at the deadline the broker may still say exactly what became of the messages", async () => {
  const exact: Answer = (_, signal) =>
    new Promise((_resolve, reject) =>
      signal.addEventListener("abort", () => reject(new PublishError("h", ["held", "refused"], signal.reason))),
    );
  const { producer, clock } = setUp(new ScriptedBroker(exact));
  const first = send(producer, sending("a"));
  const second = failure(send(producer, sending("b")));
  await clock.advance(5000);
  await first;
  expect(await second).toMatchObject({ code: "PUBLISH_TIMEOUT", calls: [{ taskId: "b", fate: "refused" }] });
});

test("one timer for all batches, and none once they are finished", async () => {
  const release: (() => void)[] = [];
  const wait: Answer = () => new Promise((resolve) => void release.push(resolve));
  const { producer, clock } = setUp(new ScriptedBroker(wait, wait, wait));
  const sent: Promise<void>[] = [];
  for (const id of ["a", "b", "c"]) {
    sent.push(send(producer, sending(id)));
    await clock.advance(1);
  }
  expect(clock.pendingTimers).toBe(1);
  for (const each of release) each();
  await Promise.all(sent);
  expect(clock.pendingTimers).toBe(0);
});

test("a call without retries shares no batch with others", async () => {
  const broker = new ScriptedBroker(answering(() => new BrokerUnavailableError("h")));
  const { producer } = setUp(broker);
  const once = failure(send(producer, { ...sending("a"), retry: null }));
  const usual = send(producer, sending("b"));
  expect(await once).toMatchObject({ calls: [{ fate: "refused" }] });
  await usual;
  expect(broker.published).toEqual([["a"], ["b"]]);
});

test("closing waits for what is under way and refuses what comes after", async () => {
  let release = (): void => {};
  const broker = new ScriptedBroker(() => new Promise((resolve) => void (release = resolve)));
  const { producer, clock } = setUp(broker);
  const sent = send(producer, sending("a"));
  await clock.advance(0);
  const closed = producer.close();
  await expect(send(producer, sending("b"))).rejects.toBeInstanceOf(AppClosedError);
  release();
  await closed;
  await sent;
});

test("with a buffer a call outlasts publishTimeout, and resolves when the broker holds it", async () => {
  const broker = new ScriptedBroker(...Array.from({ length: 12 }, () => unavailable));
  const { clock, producer } = setUp(broker, { buffer: 10 });
  let state = "pending";
  const sent = send(producer, sending("a")).then(() => (state = "held"));
  await clock.advance(5500);
  expect(state).toBe("pending"); // nothing is said to be sent that the broker does not hold
  await clock.advance(10_000);
  await sent;
  expect(broker.published).toHaveLength(13);
  expect(clock.pendingTimers).toBe(0);
});

test("what does not fit in the buffer, or waits too long in it, is rejected", async () => {
  const broker = new ScriptedBroker();
  const { clock, producer } = setUp(broker, { buffer: 2, open: () => Promise.reject(new BrokerUnavailableError("h")) });
  const first = failure(producer.sendMany([sending("a"), sending("b")]));
  await clock.advance(1000);
  const second = failure(send(producer, sending("c")));
  await clock.advance(5000);
  const error = await second;
  expect(error).toBeInstanceOf(PublishTimeoutError);
  expect(error.message).toContain("within 5000 ms (the broker does not hold it)");
  const fourth = failure(send(producer, sending("e"))); // only buffered ones are there, due much later
  await clock.advance(5000);
  await fourth;
  await clock.advance(50_000);
  expect((await first).calls.map(({ fate }) => fate)).toEqual(["refused", "refused"]);
  expect((await first).message).toContain("within 60000 ms");
  const third = failure(send(producer, sending("d"))); // there is room again
  await clock.advance(5500);
  expect(clock.pendingTimers).toBeGreaterThan(0);
  await clock.advance(60_000);
  await third;
  expect(clock.pendingTimers).toBe(0);
});

test("closing gives what is buffered publishTimeout, and no more", async () => {
  const { clock, producer } = setUp(new ScriptedBroker(), { buffer: 10, open: () => Promise.reject(new BrokerUnavailableError("h")) });
  const sent = failure(send(producer, sending("a")));
  await clock.advance(10_000);
  const closed = producer.close();
  await clock.advance(5000);
  await closed;
  expect((await sent).calls).toMatchObject([{ fate: "refused" }]);
});
