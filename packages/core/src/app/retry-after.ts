/**
 * What the other side of an HTTP call said about when to come back: `Retry-After`, a number of seconds or a date
 * (RFC 9110, 10.2.3), wherever the common clients leave it on their errors.
 */

/** ms from `now` (ms since 1970), at least 0; undefined when the error says nothing that can be read. */
export function retryAfterMs(error: unknown, now: number): number | undefined {
  if (!isObject(error)) return undefined;
  const own = readValue(error["retryAfter"], now);
  if (own !== undefined) return own;
  const { response } = error;
  const value = (isObject(response) ? header(response["headers"]) : undefined) ?? header(error["headers"]);
  return readValue(value, now);
}

/** Of a fetch `Headers`, of a class with `get`, or of a plain object in any case. */
function header(headers: unknown): unknown {
  if (!isObject(headers)) return undefined;
  if (typeof headers["get"] === "function") return (headers["get"] as (name: string) => unknown).call(headers, "retry-after") ?? undefined;
  const name = Object.keys(headers).find((key) => key.toLowerCase() === "retry-after");
  const value = name === undefined ? undefined : headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function readValue(value: unknown, now: number): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) && value >= 0 ? value * 1000 : undefined;
  if (value instanceof Date) return untilMs(value.getTime(), now);
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  return /[a-z]/i.test(text) ? untilMs(Date.parse(text), now) : undefined; // a text without a letter is no date of HTTP
}

function untilMs(at: number, now: number): number | undefined {
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
