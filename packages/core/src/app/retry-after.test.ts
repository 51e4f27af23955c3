import { expect, test } from "vitest";
import { retryAfterMs } from "./retry-after.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");

test.each<[string, unknown, number | undefined]>([
  ["a number of seconds on the error", { retryAfter: 2.5 }, 2500],
  ["a text of seconds", { retryAfter: " 120 " }, 120_000],
  ["a Date", { retryAfter: new Date(NOW + 7000) }, 7000],
  ["a date of HTTP", { retryAfter: "Thu, 01 Jan 2026 00:00:30 GMT" }, 30_000],
  ["a date that has passed", { retryAfter: "Wed, 31 Dec 2025 00:00:00 GMT" }, 0],
  ["fetch's Headers on the response", { response: { headers: new Headers({ "Retry-After": "3" }) } }, 3000],
  ["a response of fetch", { response: new Response(null, { status: 429, headers: { "retry-after": "4" } }) }, 4000],
  ["a plain object of headers, in any case", { response: { headers: { "Retry-After": "5" } } }, 5000],
  ["a header that came several times", { response: { headers: { "retry-after": ["6", "60"] } } }, 6000],
  ["headers on the error itself", { headers: { "retry-after": "8" } }, 8000],
  ["the error's own word before the header", { retryAfter: 1, response: { headers: { "retry-after": "9" } } }, 1000],
  ["nothing", new Error("x"), undefined],
  ["no error", "thrown text", undefined],
  ["null", null, undefined],
  ["what cannot be read", { retryAfter: "soon", response: { headers: { "retry-after": "-5" } } }, undefined],
  ["a number that is none", { retryAfter: Number.NaN }, undefined],
])("%s", (_, error, expected) => {
  expect(retryAfterMs(error, NOW)).toBe(expected);
});
