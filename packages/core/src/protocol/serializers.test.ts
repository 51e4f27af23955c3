/** YAML and msgpack as Python's libraries read and write them: the texts here were checked against PyYAML and msgpack-python. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ProtocolError } from "./errors.ts";
import { Decimal, PlainDate, PlainTime, Uuid } from "./json-values.ts";
import { contentTypesFor, decodeBody, encodeBody, registerSerializer } from "./serializers.ts";

const accept = contentTypesFor(["json", "yaml", "msgpack"]);

function decode(name: string, body: Uint8Array | string, limits = { maxBytes: 1 << 20, maxDepth: 50 }): unknown {
  const contentType = `application/x-${name}`;
  return decodeBody({ body: Buffer.from(body as string), contentType, contentEncoding: "binary" }, { accept, limits });
}

const key = fc.string({ unit: "binary" }).filter((name) => name !== "__proto__" && !/\p{Surrogate}/u.test(name));
const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0), // -0 is no float of theirs
  key,
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  fc.constantFrom("yes", "y", "012", "1e3", "1:30", "2024-02-29", "=", "<<", "~", "", "- a", "a: b", "\u0085", "\x7f", "x".repeat(1100)),
);
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(key, tie("value"), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;

test.each(["yaml", "msgpack"])("%s gives back any value", (serializer) => {
  fc.assert(fc.property(value, (given) => void expect(decodeBody(encodeBody(given, { serializer }), { accept })).toEqual(given)));
});

describe("yaml", () => {
  test("no text can be taken for a number, a date or a boolean", () => {
    const written = Buffer.from(encodeBody(["yes", 1e21, 2n ** 70n, "😀\\ud83d", "\x7f"], { serializer: "yaml" }).body).toString();
    expect(written).toBe('["yes", 1.0e+21, 1180591620717411303424, "\\U0001f600\\\\ud83d", "\\u007f"]\n');
  });

  test("what YAML has types for goes typed, the rest as text", () => {
    const given = [
      new Date(Date.UTC(2024, 1, 29, 12, 30)),
      new PlainDate("2024-02-29"),
      Buffer.from("abc"),
      new PlainTime("12:30:45"),
      new Decimal("1.10"),
      new Uuid("12345678-1234-5678-1234-567812345678"),
    ];
    const { body } = encodeBody(given, { serializer: "yaml" });
    expect(Buffer.from(body).toString()).toBe(
      '[2024-02-29T12:30:00.000000+00:00, 2024-02-29, !!binary "YWJj", "12:30:45", "1.10", "12345678-1234-5678-1234-567812345678"]\n',
    );
    expect(decode("yaml", body)).toEqual([...given.slice(0, 3), ...given.slice(3).map(String)]);
  });

  test.each([
    ["yes", true],
    ["Off", false],
    ["y", "y"],
    ["1e3", "1e3"],
    ["1.5e+3", 1500],
    ["0o7", "0o7"],
    ["-012", -10],
    ["0x1F", 31],
    ["0b101", 5],
    ["1_000", 1000],
    ["1:30", 90],
    ["1:30.5", 90.5],
    ["-.inf", -Infinity],
    [".nan", Number.NaN],
    ["~", null],
    ["9007199254740993", 9007199254740993n],
    ["2024-02-29", new PlainDate("2024-02-29")],
    ["2024-02-29 12:30:45.123456 +02:00", new Date(Date.UTC(2024, 1, 29, 10, 30, 45, 123))],
    ["2024-2-9 1:30:45", new Date(Date.UTC(2024, 1, 9, 1, 30, 45))],
    ["!!binary YWJj", Buffer.from("abc")],
    ["{<<: {a: 1}, b: 2}", { a: 1, b: 2 }],
    ["{__proto__: {a: 1}}", JSON.parse('{"__proto__": {"a": 1}}')],
  ])("%s is read as PyYAML reads it", (text, expected) => expect(decode("yaml", text)).toEqual(expected));

  test.each([
    ["lists in lists", `${"[".repeat(100)}${"]".repeat(100)}`],
    ["lists without end", "[".repeat(5000)],
    ["a list that holds itself", "&a [*a]"],
    ["a tag that makes objects", "!!python/object/apply:os.system ['true']"],
    ["too many digits", "9".repeat(5000)],
    ["a date that is none", "2024-02-30"],
    ["more than YAML may be", `"${"x".repeat(5 << 20)}"`],
    ["two documents", "--- 1\n--- 2"],
  ])("%s: refused", (_, text) => {
    expect(() => decode("yaml", text, { maxBytes: 1 << 24, maxDepth: 50 })).toThrow(ProtocolError);
  });
});

describe("msgpack", () => {
  test("dates, decimals and ids go as text: kombu has no types for them", () => {
    const { body } = encodeBody([new Date(0), new Decimal("1.10")], { serializer: "msgpack" });
    expect(decode("msgpack", body)).toEqual(["1970-01-01T00:00:00.000000+00:00", "1.10"]);
  });

  test.each([
    ["an integer of more than 64 bits", 2n ** 64n],
    ["half of a surrogate pair", "\ud800"],
    ["a function", () => 1],
    ["a Map", new Map()],
  ])("%s is refused", (_, given) => expect(() => encodeBody([given], { serializer: "msgpack" })).toThrow(ProtocolError));

  const lists = (count: number, claimed: number): Buffer => {
    const bytes = Buffer.alloc(5 * count);
    for (let i = 0; i < count; i++) bytes.writeUInt32BE(claimed, bytes.writeUInt8(0xdd, i * 5));
    return bytes;
  };

  test.each([
    ["lists that claim more than is there", lists(40, 1_000_000)],
    ["lists that all claim what follows", lists(40, 150)],
    ["lists in lists", Buffer.alloc(1000, 0x91)],
    ["a text that claims more than is there", Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff])],
    ["a map that claims more than is there", Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff])],
    ["two values", Buffer.from([1, 2])],
    ["nothing", Buffer.alloc(0)],
    ["an extension", Buffer.from([0xd4, 1, 1])],
    ["a byte that is never used", Buffer.from([0xc1])],
    ["a key that is a list", Buffer.from([0x81, 0x90, 0x01])],
  ])("%s", (_, bytes) => expect(() => decode("msgpack", bytes)).toThrow(ProtocolError));

  test("any bytes that begin like a container", () => {
    fc.assert(
      fc.property(fc.constantFrom(0x81, 0x92, 0xdc, 0xdd, 0xde, 0xdf), fc.uint8Array({ maxLength: 60 }), (first, rest) => {
        try {
          decode("msgpack", Buffer.from([first, ...rest]));
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

test("a serializer of the application's own that throws throws a ProtocolError", () => {
  const broken = (): never => {
    throw new TypeError("no");
  };
  registerSerializer({ name: "broken", contentType: "application/x-broken", contentEncoding: "binary", encode: broken, decode: broken });
  expect(() => encodeBody(1, { serializer: "broken" })).toThrow(ProtocolError);
  const part = { body: Buffer.alloc(1), contentType: "application/x-broken", contentEncoding: "binary" };
  expect(() => decodeBody(part, { accept: contentTypesFor(["broken"]) })).toThrow(ProtocolError);
});
