/** Every task message that real Celery wrote is read, and written again with the same meaning. */
import { describe, expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope, markRedelivered } from "../../src/protocol/envelope.ts";
import { decodeJson } from "../../src/protocol/json.ts";
import { contentTypesFor, decodeBody } from "../../src/protocol/serializers.ts";
import { encodeTaskMessage, readTaskMessage, retryMessage, type ReceivedTask } from "../../src/protocol/task-message.ts";
import { formatInstant } from "../../src/protocol/instant.ts";
import { argsRepr, kwargsRepr } from "../../src/protocol/python-repr.ts";
import { fixtures } from "./fixtures.ts";

const accept = contentTypesFor(["json", "yaml", "msgpack"]);
const SERIALIZERS: Readonly<Record<string, string>> = {
  "application/json": "json",
  "application/x-yaml": "yaml",
  "application/x-msgpack": "msgpack",
};

interface Recorded {
  readonly raw: string;
  readonly envelope: { readonly headers: Record<string, unknown>; readonly properties: Record<string, unknown> };
}

const recorded = fixtures("messages").flatMap(({ path, data }) =>
  (
    (data.messages ??
      Object.values((data.unacked_raw ?? {}) as Record<string, string>).map((text) => ({
        raw: JSON.stringify(JSON.parse(text)[0]),
      }))) as Recorded[]
  ).map((message, at) => ({
    name: `${path}[${at}]`,
    raw: message.raw,
  })),
);
const runnable = recorded.filter(({ raw }) => !raw.includes("x-python-serialize"));

test("there is something to check", () => expect(recorded.length).toBeGreaterThan(60));

describe.each(recorded)("$name", ({ raw }) => {
  test("the envelope is read, and written with the same meaning", () => {
    const { message, info, deliveryTag } = decodeEnvelope(raw);
    expect(JSON.parse(encodeEnvelope(message, info, deliveryTag))).toEqual(JSON.parse(raw));
  });

  test("marked as redelivered it differs in nothing else", () => {
    const before = JSON.parse(raw);
    const after = JSON.parse(markRedelivered(raw));
    expect(after.headers.redelivered).toBe(true);
    expect(after.properties.delivery_info.redelivered).toBe(true);
    delete after.headers.redelivered;
    delete after.properties.delivery_info.redelivered;
    expect(after).toEqual(before);
  });
});

describe.each(runnable)("$name", ({ name, raw }) => {
  const read = (): ReceivedTask => {
    const { message, info } = decodeEnvelope(raw);
    return readTaskMessage(message, info, { accept });
  };

  test("the task is read", () => {
    const task = read();
    expect(task.task).toMatch(/^\w+\.\w+/);
    expect(task.id).toMatch(/^[0-9a-f-]{36}$/);
    const { args, kwargs, embed } = task.body();
    expect(Array.isArray(args)).toBe(true);
    expect(typeof kwargs).toBe("object");
    expect(Object.keys(embed).toSorted()).toEqual(["callbacks", "chain", "chord", "errbacks"]);
  });

  test.skipIf(name.includes("json_types") || name.includes("protocol1"))("written again, a Celery worker would do the same", () => {
    const task = read();
    const { message } = task;
    const { args, kwargs, embed } = task.body();
    const {
      task: taskName,
      id,
      shadow,
      eta,
      expires,
      group,
      groupIndex,
      retries,
      timeLimitMs,
      softTimeLimitMs,
      rootId,
      parentId,
      argsrepr,
      kwargsrepr,
    } = task;
    const { origin, ignoreResult, replacedTaskNesting, stampedHeaders, stamps, headers } = task;
    const { correlationId, replyTo, priority, deliveryMode, expirationMs } = message.properties;
    const ours = encodeTaskMessage(
      {
        task: taskName,
        id,
        args,
        kwargs,
        embed,
        shadow,
        eta,
        expires,
        group,
        groupIndex,
        retries,
        timeLimitMs,
        softTimeLimitMs,
        rootId,
        parentId,
        argsrepr,
        kwargsrepr,
        origin,
        ignoreResult,
        replacedTaskNesting,
        stampedHeaders,
        stamps,
        headers,
        correlationId,
        replyTo,
        priority,
        deliveryMode,
      },
      {
        serializer: SERIALIZERS[message.contentType] as string,
        now: (expires?.at ?? 0) - (expirationMs ?? 0),
        compression: message.headers.compression as string | undefined,
      },
    );
    expect(ours.headers).toMatchObject({ ...message.headers, lang: "js" });
    expect({ ...ours.properties, others: {} }).toEqual({ ...message.properties, others: {} });
    expect(ours.contentType).toBe(message.contentType);
    expect(ours.contentEncoding).toBe(message.contentEncoding);
    const value = (part: typeof message): unknown => decodeBody({ ...part, compression: part.headers.compression }, { accept });
    expect(value(ours)).toEqual(value(message));
  });

  test("a retry changes what a retry changes, and keeps the body's bytes", () => {
    const task = read();
    if (task.protocol === 1) return;
    const eta = formatInstant(1_800_000_000_000);
    const again = retryMessage(task, { retries: task.retries + 1, eta, parentId: task.id }, { serializer: "json" });
    expect(again.headers).toEqual({ ...task.message.headers, retries: task.retries + 1, eta: eta.text, parent_id: task.id });
    expect(again.body).toBe(task.message.body);
    expect(again.properties).toEqual(task.message.properties);
  });
});

/** Python had tuples in the others, which JSON does not tell from lists. */
const withoutTuples = runnable.filter(({ name }) => !/chunks|map|send_task|json_types/.test(name));

test.each(withoutTuples)("$name shows its arguments to monitors as Celery does", ({ raw }) => {
  const { message, info } = decodeEnvelope(raw);
  const task = readTaskMessage(message, info, { accept });
  const { args, kwargs } = task.body();
  const { argsrepr = task.argsrepr, kwargsrepr = task.kwargsrepr } = message.headers; // protocol 1 has none
  expect([argsRepr(args), kwargsRepr(kwargs)]).toEqual([argsrepr, kwargsrepr]);
});

test("pickle is recognised and refused", () => {
  const pickled = recorded.filter(({ raw }) => raw.includes("x-python-serialize"));
  expect(pickled.length).toBeGreaterThan(0);
  for (const { raw } of pickled) {
    const { message, info } = decodeEnvelope(raw);
    expect(() => readTaskMessage(message, info, { accept: new Set([...accept, "application/x-python-serialize"]) }).body()).toThrow(
      /pickle/,
    );
  }
});

test("protocol 1 is read: everything is in the body", () => {
  for (const { raw } of recorded.filter(({ name }) => name.includes("protocol1"))) {
    const { message, info } = decodeEnvelope(raw);
    const task = readTaskMessage(message, info, { accept });
    expect(task).toMatchObject({ protocol: 1, task: "cap.add" });
    expect(task.body()).toMatchObject({ args: [1, 1], kwargs: {}, embed: { chain: null } });
  }
});

test("typed values, NaN and long integers of kombu 5.6 are what they were", () => {
  const raw = recorded.find(({ name }) => name.startsWith("5.6.3/messages/json_types"))?.raw as string;
  const { message, info } = decodeEnvelope(raw);
  const { value } = readTaskMessage(message, info, { accept }).body().kwargs as { value: Record<string, unknown> };
  expect(value.nan).toBeNaN();
  expect(value.inf).toBe(Infinity);
  expect(value.big).toBe(2n ** 70n);
  expect(value.datetime_utc).toEqual(new Date("2024-02-29T12:30:45Z"));
  expect(String(value.date)).toBe("2024-02-29");
  expect(String(value.time)).toBe("12:30:45");
  expect(String(value.decimal)).toBe("1.10");
  expect(String(value.uuid)).toBe("12345678-1234-5678-1234-567812345678");
  expect(value.bytes_utf8).toEqual(Buffer.from("abc"));
  expect(value.bytes_binary).toEqual(Buffer.of(0xff, 0xfe, 0));
  expect(value.unicode).toBe("héllo 世界 😀");
});

test("what Python wrote as a typed value is written again to the letter", () => {
  const raw = recorded.find(({ name }) => name.startsWith("5.6.3/messages/json_types"))?.raw as string;
  const text = Buffer.from(decodeEnvelope(raw).message.body).toString();
  const [, kwargs] = decodeJson(text) as [unknown, { value: Record<string, unknown> }];
  const { nan: _nan, inf: _inf, ...value } = kwargs.value;
  const ours = encodeTaskMessage({ id: "x", task: "t", args: [], kwargs: { value } }, { serializer: "json", now: 0 });
  const expected = text.replace(/"nan": NaN, "inf": Infinity, /, "").replace('"float": 1.0', '"float": 1');
  expect(Buffer.from(ours.body).toString()).toBe(expected);
});
