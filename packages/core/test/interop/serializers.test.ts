/** Any values, written by Lovage and read by kombu, and the other way round: json, yaml, msgpack. */
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contentTypesFor, decodeBody, encodeBody } from "../../src/protocol/serializers.ts";
import { python } from "../support/python.ts";

const accept = contentTypesFor(["json", "yaml", "msgpack"]);
const SERIALIZERS = { json: "application/json", yaml: "application/x-yaml", msgpack: "application/x-msgpack" } as const;
type Name = keyof typeof SERIALIZERS;

/** Older ones have no bytes in JSON. */
const hasTypedValues =
  python !== undefined && !/^5\.[0-2]\./.test(execFileSync(python, ["-c", "import kombu; print(kombu.__version__)"]).toString());

const tricky = fc.constantFrom(
  ..."yes y n no on Off 1e3 1:30 1:30.5 2024-02-29 2024-02-29T10:00:00Z = << ~ null 0x10 012 0o7 1_000 .5 .inf !!int &a *a -".split(" "),
  ...["", "- a", "a: b", "# x", " ", "\n", "\u0085", "\u2028", "\ufeff", "\x7f", "é", "😀", "x".repeat(1100), "😀".repeat(200)],
);
/** msgpack and Python's own UTF-8 have no half of a surrogate pair. */
const text = fc.oneof(
  tricky,
  fc.string({ unit: "binary" }).filter((value) => !/\p{Surrogate}/u.test(value)),
);
const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0), // -0 is no float of YAML's
  text,
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
  ...(hasTypedValues ? [fc.uint8Array().map((bytes) => Buffer.from(bytes))] : []),
);
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "medium" },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(
      text.filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;

interface Answer {
  readonly differs: readonly string[];
  readonly again: Readonly<Partial<Record<Name, string>>>;
}

describe.skipIf(python === undefined)("kombu", () => {
  test("reads and writes the same values", () => {
    const values = fc.sample(value, 1000);
    const rows = values.map((given) => ({
      json: Buffer.from(encodeBody(given, { serializer: "json" }).body).toString(),
      yaml: Buffer.from(encodeBody(given, { serializer: "yaml" }).body).toString("base64"),
      msgpack: Buffer.from(encodeBody(given, { serializer: "msgpack" }).body).toString("base64"),
    }));
    const script = new URL("python/echo_values.py", import.meta.url).pathname;
    const output = execFileSync(python as string, [script], { input: JSON.stringify(rows), maxBuffer: 1 << 28 });
    const answers = JSON.parse(output.toString()) as Answer[];
    expect(answers.flatMap(({ differs }) => differs)).toEqual([]);
    expect(answers).toHaveLength(values.length);
    for (const [at, { again }] of answers.entries()) {
      for (const [name, body] of Object.entries(again)) {
        const part = { body: Buffer.from(body, "base64"), contentType: SERIALIZERS[name as Name], contentEncoding: "binary" };
        expect(decodeBody(part, { accept }), name).toEqual(values[at]);
      }
    }
  });
});
