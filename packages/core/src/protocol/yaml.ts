/**
 * YAML as PyYAML reads and writes it: version 1.1, where `yes` is true and `1:30` is ninety. Written in YAML's JSON-like
 * form with every text quoted, so that no text can be taken for something else; read by PyYAML's own rules
 * (yaml/resolver.py), which differ from those of other libraries: to it `y` and `1e3` are texts.
 */
import { createRequire } from "node:module";
import type { parseDocument as ParseDocument, ScalarTag } from "yaml";
import { checkedTree } from "./decoded-tree.ts";
import { ProtocolError } from "./errors.ts";
import { formatInstant, parseInstant } from "./instant.ts";
import { decodeJson, encodeJson, quote } from "./json.ts";
import { PlainDate, TextValue, WireDate } from "./json-values.ts";
import type { DecodeLimits } from "./limits.ts";

/** @throws ProtocolError with the path to a value that cannot be written. */
export function encodeYaml(value: unknown): string {
  return `${write(decodeJson(encodeJson(value, { where: "body" })))}\n`; // once there and back, and only values of few kinds are left
}

function write(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "number") return encodeJson(value).replace(/^(-?\d+)e/, "$1.0e"); // without a point it would be text
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return `[${value.map(write).join(", ")}]`;
  if (value instanceof WireDate) return TIMESTAMP.test(value.text) ? value.text : formatInstant(value.getTime()).text;
  if (value instanceof PlainDate && DATE.test(value.text)) return value.text;
  if (Buffer.isBuffer(value)) return `!!binary "${value.toString("base64")}"`;
  if (value instanceof TextValue) return quoted(value.text);
  return `{${Object.entries(value)
    .map(([key, item]) => `${keyOf(key)}: ${write(item)}`)
    .join(", ")}}`;
}

/** JSON's escapes, but for what lies beyond 16 bits: YAML knows no pairs. */
function quoted(text: string): string {
  return quote(text).replaceAll(/\\u(d[89ab]..)\\u(d[c-f]..)|\\./g, (escape, high?: string, low?: string) => {
    if (high === undefined || low === undefined) return escape;
    const point = (Number.parseInt(high, 16) - 0xd800) * 0x400 + Number.parseInt(low, 16) - 0xdc00 + 0x10000;
    return `\\U${point.toString(16).padStart(8, "0")}`;
  });
}

/** Beyond 1024 characters a key must be announced. */
function keyOf(key: string): string {
  const text = quoted(key);
  return text.length > 1000 ? `? ${text} ` : text;
}

// --- reading ---------------------------------------------------------------------------------------------------------

const DATE = /^\d{4}-\d\d-\d\d$/;
const TIMESTAMP = /^\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?$/;

const tag = (name: string, test: RegExp, resolve: (text: string) => unknown): ScalarTag => ({
  tag: `tag:yaml.org,2002:${name}`,
  default: true,
  test,
  resolve,
});

const TAGS: ScalarTag[] = [
  tag("null", /^(?:~|null|Null|NULL|)$/, () => null),
  tag("bool", /^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/, (text) => /^(?:y|t|on)/i.test(text)),
  tag("int", /^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][\d_]*)|[-+]?0x[\dA-Fa-f_]+|[-+]?[1-9][\d_]*(?::[0-5]?\d)+)$/, (text) =>
    readInteger(text),
  ),
  tag(
    "float",
    /^(?:[-+]?\d[\d_]*\.[\d_]*(?:[eE][-+]\d+)?|\.\d[\d_]*(?:[eE][-+]\d+)?|[-+]?\d[\d_]*(?::[0-5]?\d)+\.[\d_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/,
    (text) => readFloat(text),
  ),
  tag("timestamp", new RegExp(`${DATE.source}|${TIMESTAMP.source}`), (text) =>
    DATE.test(text) ? readDate(text) : new WireDate(parseInstant(padded(text), "body")),
  ),
];

function readDate(text: string): PlainDate {
  parseInstant(text, "body"); // refuses the 30th of February
  return new PlainDate(text);
}

const MOST_DIGITS = 4300;

function readInteger(text: string): bigint {
  const digits = text.replaceAll("_", "").replace(/^[-+]/, "");
  if (digits.length > MOST_DIGITS) throw new ProtocolError("tooLarge", "body", `an integer of more than ${MOST_DIGITS} digits`);
  const parts = digits.split(":");
  let value = 0n;
  if (parts.length > 1) for (const part of parts) value = value * 60n + BigInt(part);
  else value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  return text.startsWith("-") ? -value : value;
}

function readFloat(text: string): number {
  const digits = text.replaceAll("_", "").replace(/^[-+]/, "").toLowerCase();
  const value = digits === ".inf" ? Infinity : digits.split(":").reduce((sum, part) => sum * 60 + Number(part), 0); // .nan is NaN
  return text.startsWith("-") ? -value : value;
}

/** Two digits in each place, and one space at most, as ISO-8601 has them. */
function padded(text: string): string {
  return text
    .replaceAll(/[ \t]+(?=[-+Z])/g, "")
    .replaceAll(/(?<!\d|\.\d*)\d(?!\d)/g, "0$&")
    .replace(/[ \t]+/, " ")
    .replace(/\.(?!\d)/, "");
}

/** Loaded when it is first needed: it takes 20 ms that most processes need not spend. */
let parseDocument: typeof ParseDocument | undefined;

/** Reading takes a second for some megabytes, and memory of a hundred times the size. */
const MOST_CHARACTERS = 4 * 1024 * 1024;

/** @throws ProtocolError */
export function decodeYaml(text: string, limits: DecodeLimits): unknown {
  if (text.length > MOST_CHARACTERS)
    throw new ProtocolError("tooLarge", "body", `YAML of ${text.length} characters, more than the ${MOST_CHARACTERS} accepted: use json`);
  parseDocument ??= (createRequire(import.meta.url)("yaml") as { readonly parseDocument: typeof ParseDocument }).parseDocument;
  const document = parseDocument(text, {
    version: "1.1",
    schema: "failsafe",
    customTags: [...TAGS, "binary", "merge"],
    prettyErrors: false,
    uniqueKeys: false,
  });
  const [problem] = [...document.errors, ...document.warnings]; // a warning is a tag that stands for an object
  if (problem !== undefined) throw new ProtocolError("malformed", "body", "not YAML, or not safe YAML", { cause: problem });
  return checkedTree(document.toJS({ maxAliasCount: 100 }), limits.maxDepth, "body");
}
