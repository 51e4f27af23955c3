/** What is written is read as it was. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope, markRedelivered } from "./envelope.ts";
import { setMember } from "./envelope-edit.ts";
import { ProtocolError } from "./errors.ts";
import { formatInstant, parseInstant } from "./instant.ts";
import { decodeJson, encodeJson } from "./json.ts";
import { Decimal, PlainDate, PlainTime, Uuid } from "./json-values.ts";
import { pythonRepr } from "./python-repr.ts";
import { decodeResult, encodeResult } from "./result.ts";
import { replaceMessage } from "./replace-message.ts";
import { contentTypesFor, decodeBody, encodeBody } from "./serializers.ts";
import { encodeTaskMessage, readTaskMessage } from "./task-message.ts";

const accept = contentTypesFor(["json", "yaml", "msgpack"]);
const key = fc.string().filter((name) => name !== "__proto__");
const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.string({ unit: "binary" }),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 200n }),
);
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(key, tie("value"), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;
const typed = fc.oneof(
  fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("9999-01-01") }),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  fc.uuid().map((text) => new Uuid(text)),
  fc.constantFrom(new Decimal("1.10"), new PlainDate("2024-02-29"), new PlainTime("12:30:45")),
);

describe("JSON", () => {
  test("any value, to the last digit", () => {
    fc.assert(fc.property(json, (value) => void expect(decodeJson(encodeJson(value))).toEqual(value)));
  });
  test("a large number stays a number, and a bigint a bigint", () => {
    for (const value of [2 ** 60, -1e20, 1e21, 1.5e300, 5e-324, -0, 2n ** 60n, -(10n ** 40n)])
      expect(decodeJson(encodeJson(value))).toBe(value);
  });
  test("NaN and Infinity are read beside anything else", () => {
    fc.assert(
      fc.property(json, fc.constantFrom(Number.NaN, Infinity, -Infinity), (value, odd) => {
        const text = `{"odd": ${String(odd)}, "value": ${encodeJson(value)}, "typed": {"__type__": "date", "__value__": "2024-02-29"}}`;
        expect(decodeJson(text)).toEqual({ odd, value, typed: new PlainDate("2024-02-29") });
      }),
    );
  });
  test("typed values", () => {
    fc.assert(fc.property(fc.array(typed), (value) => void expect(decodeJson(encodeJson({ value }))).toEqual({ value })));
  });
  test("only ASCII leaves the house", () => {
    fc.assert(fc.property(json, (value) => void expect(encodeJson(value)).toMatch(/^[\x20-\x7e]*$/)));
  });
  test("it is what Python's json.dumps writes", () => {
    expect(encodeJson({ a: [1, 2.5, true, null], b: "é☂𝄞\n", c: {}, d: [] })).toBe(
      '{"a": [1, 2.5, true, null], "b": "\\u00e9\\u2602\\ud834\\udd1e\\n", "c": {}, "d": []}',
    );
  });
  test.each([
    ["undefined", { a: undefined }, "value.a"],
    ["NaN", { a: [1, Number.NaN] }, "value.a[1]"],
    ["a function", [() => 1], "value[0]"],
    ["a Map", { a: { b: new Map() } }, "value.a.b"],
    ["an invalid date", new Date(Number.NaN), "value"],
    ["a symbol", [Symbol("x")], "value[0]"],
    ["an error", { a: new Error("x") }, "value.a"],
    ["a regular expression", [/x/], "value[0]"],
    ["floats in memory", [new Float64Array(2)], "value[0]"],
    ["a year that Python lacks", { a: new Date(Date.UTC(10_000, 0)) }, "value.a"],
    [
      "a toJSON that throws",
      {
        a: {
          b: new (class {
            toJSON(): never {
              throw new TypeError("no");
            }
          })(),
        },
      },
      "value.a.b",
    ],
    [
      "a getter that throws",
      {
        a: {
          get b(): never {
            throw new TypeError("no");
          },
        },
      },
      "value.a.b",
    ],
  ])("%s is refused with the path to it", (_, value, where) => expect(() => encodeJson(value)).toThrow(expect.objectContaining({ where })));

  test("what is undefined is left out, or null in a list, where that is asked for", () => {
    expect(encodeJson({ a: undefined, b: [undefined, 1] }, { undefinedProperties: "drop" })).toBe('{"b": [null, 1]}');
  });
});

describe("messages", () => {
  const task = fc.record({
    args: fc.array(json, { maxLength: 3 }),
    kwargs: fc.dictionary(key, json, { maxKeys: 3, noNullPrototype: true }),
    retries: fc.nat(),
    priority: fc.integer({ min: 0, max: 9 }),
    shadow: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
    etaAt: fc.option(fc.integer({ min: 0, max: 4e12 }), { nil: undefined }),
    timeLimitMs: fc.option(fc.integer({ min: 1, max: 1e6 }), { nil: undefined }),
  });

  test.each(["json"])("a task survives the way there with %s", (serializer) => {
    fc.assert(
      fc.property(task, ({ args, kwargs, ...facts }) => {
        const message = encodeTaskMessage({ id: "i", task: "t", args, kwargs, ...facts }, { serializer, now: 0 });
        const { message: opened, info } = decodeEnvelope(encodeEnvelope(message, { exchange: "x", routingKey: "r" }, "tag"));
        const received = readTaskMessage(opened, info, { accept });
        expect(received.body()).toEqual({ args, kwargs, embed: { callbacks: null, errbacks: null, chain: null, chord: null } });
        expect(received.eta?.at).toBe(facts.etaAt);
        expect(Math.round(received.timeLimitMs ?? -1)).toBe(facts.timeLimitMs ?? -1);
        expect([received.retries, received.shadow, received.message.properties.priority]).toEqual([
          facts.retries,
          facts.shadow,
          facts.priority,
        ]);
      }),
    );
  });

  test("an envelope says of each message what is its own, whatever went the same way before", () => {
    const word = fc.constantFrom("a", 'q"', "ü");
    const properties = fc.record({
      correlationId: fc.option(word, { nil: undefined }),
      replyTo: fc.option(word, { nil: undefined }),
      deliveryMode: fc.constantFrom(1 as const, 2 as const),
      priority: fc.integer({ min: 0, max: 2 }),
      expirationMs: fc.option(fc.nat(), { nil: undefined }),
      others: fc.constantFrom({}, { type: "x" }),
    });
    const step = fc.record({ properties, contentType: word, contentEncoding: word, exchange: word, routingKey: word, tag: word });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        for (const { exchange, routingKey, tag, ...rest } of steps) {
          const message = { headers: { id: tag }, body: Buffer.from("b"), ...rest };
          const { correlationId, replyTo, deliveryMode, priority, expirationMs, others } = rest.properties;
          const expected = {
            body: "Yg==",
            "content-encoding": rest.contentEncoding,
            "content-type": rest.contentType,
            headers: { id: tag },
            properties: {
              ...others,
              ...(correlationId === undefined ? {} : { correlation_id: correlationId }),
              ...(replyTo === undefined ? {} : { reply_to: replyTo }),
              ...(expirationMs === undefined ? {} : { expiration: String(expirationMs) }),
              delivery_mode: deliveryMode,
              delivery_info: { exchange, routing_key: routingKey },
              priority,
              body_encoding: "base64",
              delivery_tag: tag,
            },
          };
          expect(encodeEnvelope(message, { exchange, routingKey }, tag)).toBe(encodeJson(expected)); // in kombu's order
        }
      }),
    );
  });

  test("an edit of an envelope changes one thing, whatever stands around it", () => {
    const raw = (value: unknown): string => JSON.stringify(value);
    fc.assert(
      fc.property(json, fc.integer({ min: 0, max: 3 }), (value, indent) => {
        const text = `{"properties": {"delivery_info": {}, "big": 123456789012345678901, "float": 1.0}, "headers": {"value": ${encodeJson(value)}}, "empty": [], "none": {}}`;
        const pretty = indent === 0 ? text : text.replaceAll(/([{,]) ?"(?=[a-z_]+":)/g, `$1${" ".repeat(indent)}"`);
        const marked = markRedelivered(pretty);
        expect(marked.replace('"redelivered": true, ', "").replace('"redelivered": true', "")).toBe(pretty);
        expect(decodeJson(marked)).toMatchObject({ headers: { redelivered: true }, properties: { delivery_info: { redelivered: true } } });
        expect(setMember(marked, ["headers"], "redelivered", raw("x"))).toContain('"redelivered": "x"');
      }),
    );
  });

  test("a message with other headers leaves every other byte as it was", () => {
    const text = `{"headers" :{"f": 1.0, "n":123456789012345678901,"s":{"b":[], "a":{}, "x": NaN},"since": 1}, "body": "W10=","properties": {"delivery_tag":"a\\"b", "delivery_info":{"redelivered":true}, "o": 1.50}}`;
    const { message, info } = decodeEnvelope(text);
    expect(info.redelivered).toBe(true);
    const headers = { ...message.headers, since: 2, "more\n": "é" };
    expect(replaceMessage(text, { ...message, headers })).toBe(
      text.replace('"since": 1', '"since": 2').replace('{"f"', '{"more\\n": "\\u00e9", "f"'),
    );
    expect(replaceMessage(text, message)).toBe(text);
    const { f: _f, ...fewer } = headers as Record<string, unknown>;
    for (const other of [
      { ...message, headers: fewer },
      { ...message, body: Buffer.from("[1]") },
    ]) {
      const replaced = decodeEnvelope(replaceMessage(text, other));
      expect(replaced.message).toMatchObject({ ...other, headers: { ...other.headers, redelivered: true } });
      expect([replaced.deliveryTag, replaced.info.redelivered]).toEqual(['a"b', true]);
    }
  });

  test.each(["yaml", "msgpack"])("%s", (serializer) => {
    const plain = fc
      .jsonValue()
      .map((value) => JSON.parse(JSON.stringify(value)) as unknown)
      .filter((value) => !JSON.stringify(value).includes("__proto__"));
    fc.assert(
      fc.property(plain, (value) => {
        const part = encodeBody(value, { serializer });
        expect(decodeBody(part, { accept })).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

test("instants", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 4e12 }), (at) => void expect(parseInstant(formatInstant(at).text).at).toBe(at)));
  for (const [text, at] of [
    ["2024-02-29T12:30:45.123456+02:00", Date.UTC(2024, 1, 29, 10, 30, 45, 123)],
    ["2024-02-29T12:30:45Z", Date.UTC(2024, 1, 29, 12, 30, 45)],
    ["2024-02-29T12:30:45", Date.UTC(2024, 1, 29, 12, 30, 45)],
    ["20240229T123045", Date.UTC(2024, 1, 29, 12, 30, 45)],
    ["2024-02-29", Date.UTC(2024, 1, 29)],
    ["0001-01-01T00:00:00", Date.parse("0001-01-01T00:00:00Z")],
    ["9999-12-31T23:59:59.999999+00:00", Date.parse("9999-12-31T23:59:59.999Z")],
  ] as const) {
    expect(parseInstant(text)).toEqual({ at, text });
  }
  for (const at of [Number.NaN, Infinity, 8.64e15, -8.64e15]) expect(() => formatInstant(at)).toThrow(ProtocolError);
  for (const text of ["", "tomorrow", "2024-02-30", "2024-13-01", "2024-01-01T25:00", "0000-01-01", "1"])
    expect(() => parseInstant(text)).toThrow();
});

test("results", () => {
  fc.assert(
    fc.property(json, fc.integer({ min: 0, max: 4e12 }), (result, dateDoneAt) => {
      const document = {
        taskId: "id",
        state: "SUCCESS",
        result,
        error: undefined,
        traceback: null,
        children: [],
        dateDoneAt,
        parentId: "p",
        groupId: undefined,
        extended: undefined,
      };
      expect(decodeResult(encodeResult(document, { serializer: "json" }), { accept, serializer: "json" })).toEqual(document);
    }),
  );
});

test("the text for monitors never throws and never grows", () => {
  fc.assert(
    fc.property(
      fc.anything(),
      fc.integer({ min: 3, max: 50 }),
      (value, max) => void expect(pythonRepr(value, max).length).toBeLessThanOrEqual(max),
    ),
  );
  expect(pythonRepr([Buffer.from("abc"), Buffer.of(0xff, 0xfe, 0)])).toBe("[b'abc', b'fffe00']");
  expect(pythonRepr({ a: { b: { c: [1], d: [], e: { f: 1 } } } })).toBe("{'a': {'b': {'c': [...], 'd': [], 'e': {...}}}}");
  expect(pythonRepr("😀".repeat(50), 10)).toBe("'😀😀😀...");
  expect(pythonRepr("x" + "😀".repeat(50), 10)).toBe("'x😀😀...");
  expect(pythonRepr(new Proxy({}, { ownKeys: () => [1] as unknown as string[] }))).toBe("<unrepresentable>");
  expect(pythonRepr([1, "a", null, true, { k: [1, "it's"] }])).toBe(`[1, 'a', None, True, {'k': [1, "it's"]}]`);
});
