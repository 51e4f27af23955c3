import { ProtocolError } from "./errors.ts";

/**
 * What a decoder other than JSON's made, with its bigints as numbers where they fit, changed in place.
 * @throws ProtocolError when it is nested too deep, or holds itself.
 */
export function checkedTree(value: unknown, maxDepth: number, where: string): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (maxDepth === 0) throw new ProtocolError("malformed", where, "it is nested too deep");
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = checkedTree(value[i], maxDepth - 1, where);
    return value;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return value; // a date, bytes
  const map = value as Record<string, unknown>;
  for (const key of Object.keys(map)) map[key] = checkedTree(map[key], maxDepth - 1, where);
  return map;
}
