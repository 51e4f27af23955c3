/** Whatever comes in, only a ProtocolError comes out; and nothing that comes in can take the memory or the prototype. */
import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeControlReply, decodeControlRequest } from "./control.ts";
import { decodeEnvelope, encodeEnvelope, markRedelivered } from "./envelope.ts";
import { ProtocolError } from "./errors.ts";
import { decodeEvents } from "./event.ts";
import { readWireException, toWireException } from "./exception.ts";
import { parseInstant } from "./instant.ts";
import { decodeJson, encodeJson } from "./json.ts";
import { decodeResult } from "./result.ts";
import { contentTypesFor, decodeBody } from "./serializers.ts";
import { encodeTaskMessage, readTaskMessage } from "./task-message.ts";

const accept = contentTypesFor(["json", "yaml", "msgpack"]);
const small = { maxBytes: 1_000_000, maxDepth: 50 };

/** Runs it all the way, as a worker would. */
function receive(envelope: string): void {
  const { message, info } = decodeEnvelope(envelope, small);
  const task = readTaskMessage(message, info, { accept, limits: small });
  task.body();
  void [
    task.shadow,
    task.group,
    task.groupIndex,
    task.rootId,
    task.parentId,
    task.stamps,
    task.stampedHeaders,
    task.headers,
    task.ignoreResult,
  ];
}

function onlyProtocolErrors(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    expect(error.message.length).toBeLessThan(600);
  }
}

const genuine = encodeEnvelope(
  encodeTaskMessage(
    { id: "id-1", task: "t.x", args: [1, "ü"], kwargs: { a: [null] }, expiresAt: 1_700_000_000_000 },
    { serializer: "json", now: 0 },
  ),
  { exchange: "", routingKey: "celery" },
  "tag",
);

test("a genuine message is read", () => expect(() => receive(genuine)).not.toThrow());

test("cut short at every place", () => {
  for (let length = 0; length < genuine.length; length++) expect(() => receive(genuine.slice(0, length))).toThrow(ProtocolError);
});

test("any text, any bytes", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), fc.string({ unit: "binary" })), (text) => onlyProtocolErrors(() => receive(text))),
  );
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom(...accept), (body, contentType) =>
      onlyProtocolErrors(() => decodeBody({ body, contentType, contentEncoding: "utf-8" }, { accept, limits: small })),
    ),
  );
  fc.assert(
    fc.property(fc.uint8Array(), fc.string(), (body, compression) =>
      onlyProtocolErrors(() => decodeBody({ body, contentType: "application/json", contentEncoding: "utf-8", compression }, { accept })),
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => onlyProtocolErrors(() => decodeResult(text, { accept, serializer: "json" }))));
  fc.assert(fc.property(fc.string(), (text) => onlyProtocolErrors(() => parseInstant(text))));
  fc.assert(fc.property(fc.string(), (text) => onlyProtocolErrors(() => markRedelivered(text))));
});

/** Paths to every field of an envelope, so that each can be given every wrong type. */
function paths(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  const own = path.length === 0 ? [] : [path];
  if (typeof value !== "object" || value === null || Array.isArray(value)) return own;
  return [...own, ...Object.entries(value).flatMap(([key, item]) => paths(item, [...path, key]))];
}

const WRONG: readonly unknown[] = [
  null,
  true,
  -1,
  1.5,
  1e300,
  "",
  "text",
  [],
  [[]],
  [1, 2],
  {},
  { a: 1 },
  "__proto__",
  { __proto__: null, constructor: 1 },
];

test("every field with every wrong type", () => {
  for (const path of paths(JSON.parse(genuine))) {
    for (const wrong of WRONG) {
      const envelope = JSON.parse(genuine) as Record<string, unknown>;
      let at = envelope;
      for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
      at[path.at(-1) as string] = wrong;
      onlyProtocolErrors(() => receive(JSON.stringify(envelope)));
      delete at[path.at(-1) as string];
      onlyProtocolErrors(() => receive(JSON.stringify(envelope)));
    }
  }
});

test("every body that is valid JSON", () => {
  const template = JSON.parse(genuine) as { body: string };
  fc.assert(
    fc.property(fc.jsonValue(), (body) => {
      template.body = Buffer.from(JSON.stringify(body)).toString("base64");
      onlyProtocolErrors(() => receive(JSON.stringify(template)));
    }),
  );
});

test("an envelope of bytes that are no UTF-8 is refused", () => {
  const bytes = Buffer.from(genuine.replace('"origin": null', '"origin": "?"'));
  bytes[bytes.indexOf("?")] = 0xff;
  expect(() => decodeEnvelope(bytes)).toThrow(ProtocolError);
});

test("an edit of what is almost an envelope throws nothing else", () => {
  fc.assert(
    fc.property(fc.nat(), fc.constantFrom('"', "\\", "{", "}", "[", ",", ":", "\\x", "\u0000", "", " "), (at, unit) => {
      const place = at % genuine.length;
      onlyProtocolErrors(() => markRedelivered(genuine.slice(0, place) + unit + genuine.slice(place + 1)));
      onlyProtocolErrors(() => receive(genuine.slice(0, place) + unit + genuine.slice(place + 1)));
    }),
    { numRuns: 3000 },
  );
});

test("control messages and events of any JSON", () => {
  const wrong = fc.oneof(fc.jsonValue(), fc.constant({ __type__: "date", __value__: "2024-01-01" }));
  const odd = fc.record(
    {
      method: wrong,
      arguments: wrong,
      destination: wrong,
      reply_to: wrong,
      type: wrong,
      hostname: wrong,
      timestamp: wrong,
      runtime: wrong,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      fc.oneof(odd, fc.array(odd), wrong),
      fc.dictionary(fc.constantFrom("ticket", "clock", "expires", "compression"), wrong),
      (body, headers) => {
        const { message } = decodeEnvelope(genuine);
        const given = { ...message, headers, body: Buffer.from(encodeJson(body)) };
        for (const decode of [decodeControlRequest, decodeControlReply, decodeEvents]) onlyProtocolErrors(() => decode(given, { accept }));
      },
    ),
    { numRuns: 1000 },
  );
});

test("names that would reach a prototype are names like others", () => {
  const value = decodeJson('{"__proto__": {"polluted": true}, "constructor": {"prototype": 1}, "a": [{"__proto__": 1}]}') as object;
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  expect(JSON.parse(encodeJson(value)).a).toHaveLength(1);
  const revived = decodeJson('{"__proto__": {"polluted": true}, "d": {"__type__": "date", "__value__": "2024-01-01"}, "n": NaN}') as object;
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  expect(Object.getPrototypeOf(revived)).toBe(Object.prototype);
});

test("nesting is bounded, in JSON and in what is written", () => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  expect(() => decodeJson(deep)).toThrow(/deep/);
  expect(() => decodeJson(`{"a": "${"[".repeat(1000)}"}`)).not.toThrow();
  const cycle: unknown[] = [];
  cycle.push(cycle);
  expect(() => encodeJson(cycle)).toThrow(ProtocolError);
});

test("JSON that JSON.parse refuses is read within bounds, or refused", () => {
  const long = "x\\n".repeat(500_000);
  expect(decodeJson(`[NaN, "${long}"]`)).toEqual([Number.NaN, long.replaceAll("\\n", "\n")]);
  for (const text of [
    `[NaN, "${long}`,
    `["${"\\".repeat(1_000_001)}"`,
    "[NaN, 01]",
    "[NaN,]",
    '{"a": NaN, }',
    "NaN NaN",
    "[-]",
    "[+1]",
    '[NaN, "\t"]',
  ])
    expect(() => decodeJson(text)).toThrow(ProtocolError);
  expect(() => decodeJson("9".repeat(1_000_000))).toThrow(ProtocolError); // for JSON.parse it is Infinity
  expect(() => decodeJson(`[NaN, ${"9".repeat(5000)}]`)).toThrow(/digits/);
  expect(decodeJson('["\\u0000lovage\\u000012", NaN]')).toEqual(["\u0000lovage\u000012", Number.NaN]);
  fc.assert(
    fc.property(fc.json(), fc.nat(), (text, at) => onlyProtocolErrors(() => decodeJson(`[NaN, ${text.slice(0, at % (text.length + 1))}`))),
  );
});

test("a decompression bomb stops at the limit", () => {
  const bomb = deflateSync(Buffer.alloc(200 * 1024 * 1024, 0x20));
  const before = process.memoryUsage().rss;
  expect(() =>
    decodeBody(
      { body: bomb, contentType: "application/json", contentEncoding: "utf-8", compression: "application/x-gzip" },
      { accept, limits: small },
    ),
  ).toThrow(/more than 1000000 bytes/);
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
});

test("what is too large is refused before it is read", () => {
  const big = JSON.stringify({ body: "x".repeat(50 * 1024 * 1024) });
  expect(() => decodeEnvelope(big, { maxBytes: 1024 * 1024, maxDepth: 100 })).toThrow(/more than/);
});

test("YAML's aliases do not explode, and its types stay plain", () => {
  const bomb = [
    "a: &a [x,x,x,x,x,x,x,x,x]",
    ..."bcdefghi".split("").map((name, at) => `${name}: &${name} [${Array.from({ length: 9 }, () => `*${"abcdefghi"[at]}`).join(",")}]`),
  ].join("\n");
  expect(() =>
    decodeBody({ body: Buffer.from(bomb), contentType: "application/x-yaml", contentEncoding: "utf-8" }, { accept, limits: small }),
  ).toThrow(ProtocolError);
});

test("anything that was thrown can be written and read as an exception", () => {
  fc.assert(
    fc.property(fc.anything(), (thrown) => {
      const wire = toWireException(thrown);
      expect(() => encodeJson(wire.args)).not.toThrow();
      expect(readWireException({ exc_type: wire.type, exc_message: wire.args, exc_module: wire.module }).type).toBe(wire.type);
    }),
  );
  fc.assert(fc.property(fc.anything(), (document) => void readWireException(document)));
});
