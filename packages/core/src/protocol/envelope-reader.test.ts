import fc from "fast-check";
import { expect, test } from "vitest";

import { decodeEnvelope, encodeEnvelope, type DecodedEnvelope } from "./envelope.ts";
import { EnvelopeReader } from "./envelope-reader.ts";
import { ProtocolError } from "./errors.ts";
import { encodeTaskMessage } from "./task-message.ts";

const text = fc.oneof(fc.uuid(), fc.constantFrom("", "a", "gen1@host", 'a"b', "a\\b", "é", "\n", "2026-11-21T10:00:00+00:00"), fc.string());
const id = fc.oneof(fc.uuid(), text.filter(Boolean));
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const call = fc.record({
  id,
  task: fc.constantFrom("t", "t", "t", "other", 'odd"name'),
  args: fc.array(fc.oneof(fc.integer(), text), { maxLength: 3 }),
  rootId: maybe(id),
  parentId: maybe(id),
  origin: maybe(text),
  replyTo: maybe(text),
  retries: fc.constantFrom(0, 0, 0, 1),
  etaAt: maybe(fc.integer({ min: 0, max: 4e12 })),
  priority: fc.constantFrom(0, 0, 9),
  headers: fc.constantFrom({}, {}, { tenant: "a" }, { nested: { a: [1] } }, { id2: "x" }),
});
const envelope = fc.tuple(call, text, fc.constantFrom("", "x")).map(([{ args, ...facts }, tag, exchange]) => {
  const message = encodeTaskMessage({ ...facts, args, kwargs: {} }, { serializer: "json", now: 0 });
  return encodeEnvelope(message, { exchange, routingKey: "celery" }, tag);
});

type Answer = DecodedEnvelope | { readonly code: string; readonly where: string };

function answerOf(read: () => DecodedEnvelope): Answer {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { code: error.code, where: error.where };
  }
}

const usual = (): string => {
  const message = encodeTaskMessage(
    { id: crypto.randomUUID(), task: "t", args: [1, 2], kwargs: {}, origin: "gen1@host", replyTo: "r" },
    { serializer: "json", now: 0 },
  );
  return encodeEnvelope(message, { exchange: "", routingKey: "celery" }, crypto.randomUUID());
};

test("it says what decodeEnvelope says, whatever came before", () => {
  fc.assert(
    fc.property(fc.array(envelope, { minLength: 2, maxLength: 40 }), fc.boolean(), (envelopes, asText) => {
      const reader = new EnvelopeReader();
      for (const each of envelopes) {
        const given = asText ? each : Buffer.from(each);
        expect(reader.read(given)).toStrictEqual(decodeEnvelope(given));
      }
    }),
  );
});

test("also of one that was damaged", () => {
  const piece = fc.constantFrom("", '"', "\\", "\n", "\u007f", "é", " ", "}", ",", "=", "null", "1", '"id": "', '"id":"', '", "id": "x');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(), fc.nat(3), piece), { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      fc.boolean(),
      (damages, asText, isLatin1) => {
        const reader = new EnvelopeReader();
        reader.read(Buffer.from(usual()));
        for (const [at, removed, added] of damages) {
          const whole = usual();
          const from = at % whole.length;
          const damaged = whole.slice(0, from) + added + whole.slice(from + removed);
          const given = asText ? damaged : Buffer.from(damaged, isLatin1 ? "latin1" : "utf8");
          expect(answerOf(() => reader.read(given))).toStrictEqual(answerOf(() => decodeEnvelope(given)));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test.each([
  ["a member twice", `{"body": "W10=", "headers": {"task": "t", "id": "@", "id": "@"}, "properties": {"body_encoding": "base64"}}`],
  [
    "the same name deeper down",
    `{"body": "W10=", "headers": {"task": "t", "id": "@", "eta": "@"}, "properties": {"delivery_info": {"eta": "@"}, "body_encoding": "base64"}}`,
  ],
  [
    "the same name deeper down, written otherwise",
    `{"body": "W10=", "headers": {"task": "t", "id": "x", "eta":"x"}, "properties": {"delivery_info": {"eta": "@"}, "body_encoding": "base64"}}`,
  ],
  ["a space before a colon", `{"body": "W10=", "headers": {"task": "t", "id": "@", "eta" : "x", "o": {"eta": "@"}}, "properties": {}}`],
  [
    "a property among the headers",
    `{"body": "", "headers": {"task": "t", "id": "x", "delivery_tag": "@"}, "properties": {"body_encoding": "base64"}}`,
  ],
  ["a body as it is", `{"body": "@", "headers": {"task": "t", "id": "x"}, "properties": {"body_encoding": "utf-8"}}`],
  [
    "something behind it",
    `{"body": "W10=", "headers": {"task": "t", "id": "x"}, "properties": {"body_encoding": "base64", "delivery_tag": "@"}}@`,
  ],
])("%s", (_, like) => {
  const reader = new EnvelopeReader();
  for (const place of ["x", "x", "y", "", " ", "\t", "x"]) {
    const given = like.replaceAll("@", place);
    expect(answerOf(() => reader.read(given))).toStrictEqual(answerOf(() => decodeEnvelope(given)));
  }
});

test("the second of a kind is not parsed, and what both share cannot be changed", () => {
  const reader = new EnvelopeReader();
  reader.read(Buffer.from(usual()));
  const [one, other] = [reader.read(Buffer.from(usual())), reader.read(Buffer.from(usual()))];
  expect(one.info).toBe(other.info); // nobody shares it who has parsed it
  expect(one.message.headers).not.toBe(other.message.headers);
  const fromElsewhere = reader.read(Buffer.from(usual().replace("gen1@host", "gen1@hosts")));
  expect([fromElsewhere.info, fromElsewhere.message.headers.origin]).toEqual([one.info, "gen1@hosts"]);
  expect(fromElsewhere.info).toBe(one.info);
  for (const shared of [one.info, one.message.headers.timelimit, one.message.headers.stamps]) expect(shared).toSatisfy(Object.isFrozen);
});

test.each([
  ["headers", '"stamps": {}', '"stamps": {"a": {}}', ({ message }: DecodedEnvelope) => message.headers.stamps],
  [
    "headers",
    '"stamps": {}',
    '"stamps": {}, "x": {"__type__": "datetime", "__value__": "2026-11-21T10:00:00"}',
    ({ message }: DecodedEnvelope) => message.headers.x,
  ],
  [
    "headers",
    '"stamps": {}',
    '"stamps": {}, "x": {"__type__": "bytes", "__value__": ""}',
    ({ message }: DecodedEnvelope) => message.headers.x,
  ],
  ["properties", '"priority": 0', '"priority": 0, "x": {}', ({ message }: DecodedEnvelope) => message.properties.others.x],
] as const)("nested values in its %s are its own", (_, what, nested, valueOf) => {
  const reader = new EnvelopeReader();
  const values = [1, 2, 3].map(() => valueOf(reader.read(usual().replace(what, nested))));
  expect(values).toSatisfy((all: unknown[]) => new Set(all).size === 3 && typeof all[0] === "object" && !Object.isFrozen(all[0]));
});

test("a form is found again after others, after what has none, and when there are many", () => {
  const named = (task: string, args: readonly unknown[]): Buffer => {
    const message = encodeTaskMessage({ id: crypto.randomUUID(), task, args, kwargs: {} }, { serializer: "json", now: 0 });
    return Buffer.from(encodeEnvelope(message, { exchange: "", routingKey: "celery" }, "tag"));
  };
  const isShared = (task: string): boolean => reader.read(named(task, [])).info === reader.read(named(task, [])).info;
  const reader = new EnvelopeReader();
  for (let i = 0; i < 3; i += 1) reader.read(named("a", ['"']));
  for (let i = 0; i < 40; i += 1) reader.read(named("a", []));
  expect(isShared("a")).toBe(true);
  for (let i = 0; i < 100; i += 1) reader.read(named("a", ['"']));
  expect(isShared("a")).toBe(true);
  const before = reader.read(named("a", [])).info;
  reader.read(named("b", []));
  expect(reader.read(named("a", [])).info).toBe(before);
  for (let i = 0; i < 300; i += 1) reader.read(named(`many.${i}`, []));
  reader.read(named("a", []));
  expect(isShared("a")).toBe(true);
});
