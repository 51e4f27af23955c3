/** The key that a message has under a limit, and the id that the two make. */
import { createHash } from "node:crypto";
import { KEY_MARK } from "../brokers/limits.ts";
import { type LimitKey, LIMIT_KEY_HEADER } from "./limit-options.ts";

/** Longer keys are counted by their hash. */
const KEY_MAX = 128;

/**
 * `args`: asked for only when the key is a function.
 * @throws what such a function throws
 */
export function limitIdOf(
  name: string,
  key: LimitKey | undefined,
  headers: Readonly<Record<string, unknown>>,
  args: () => readonly unknown[],
): string {
  if (key === undefined) return name;
  const own = headers[LIMIT_KEY_HEADER] ?? undefined;
  const value = own !== undefined || key === true ? own : typeof key === "string" ? headers[key] : key(...(args() as readonly never[]));
  return limitId(name, value);
}

/** A message without a key shares the limit with all others that have none. */
export function limitId(name: string, key: unknown): string {
  if (key === undefined || key === null) return name;
  const text = typeof key === "string" ? key : (JSON.stringify(key) ?? "");
  // oxlint-disable-next-line no-control-regex -- the stores use them between the parts of an id
  const isPlain = text.length <= KEY_MAX && !/[\x00-\x1f\x7f]/.test(text);
  return `${name}${KEY_MARK}${isPlain ? text : `sha256:${createHash("sha256").update(text).digest("hex").slice(0, 32)}`}`;
}
