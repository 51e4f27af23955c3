import { expect, test } from "vitest";
import type { ControlRequest } from "../../protocol/control.ts";
import { isMeant } from "./address.ts";

const meant = (target: Partial<ControlRequest>, node = "celery@web-1.example"): boolean =>
  isMeant({ method: "ping", arguments: {}, ...target }, node);

test("nothing said is everybody; a destination is exact, and wins over a pattern", () => {
  expect(meant({})).toBe(true);
  expect(meant({ destination: ["other@x", "celery@web-1.example"] })).toBe(true);
  expect(meant({ destination: ["celery@web-1"] })).toBe(false);
  expect(meant({ destination: ["other@x"], pattern: "*", matcher: "glob" })).toBe(false);
  expect(meant({ pattern: "nobody" })).toBe(true); // a pattern without a matcher is none, as in kombu
});

// What Python's fnmatch.fnmatchcase says.
test.each([
  ["celery@*", true],
  ["*", true],
  ["celery@web-?.example", true],
  ["celery@web-[12].example", true],
  ["celery@web-[!1].example", false],
  ["celery@web-[!2].example", true],
  ["celery@web-[0-3].example", true],
  ["celery@web-1xexample", false],
  ["celery@web", false],
  ["elery@*", false],
  ["[c]elery@*", true],
  ["celery@[", false],
  ["", false],
])("glob %j: %j", (pattern, expected) => {
  expect(meant({ pattern, matcher: "glob" })).toBe(expected);
});

test.each([
  ["celery@", true], // re.match: from the beginning, not to the end
  ["web", false],
  [".*web-\\d", true],
  ["a|celery", true],
  ["(", false],
])("pcre %j: %j", (pattern, expected) => {
  expect(meant({ pattern, matcher: "pcre" })).toBe(expected);
});

test("a pattern that would try for years is given up, and its text is nobody's code", () => {
  const node = `${"a".repeat(60)}@x`;
  const begun = performance.now();
  expect(meant({ pattern: "(a+)+$", matcher: "pcre" }, node)).toBe(false);
  expect(meant({ pattern: `${"*a".repeat(100)}b`, matcher: "glob" }, node)).toBe(false);
  expect(performance.now() - begun).toBeLessThan(5000);
  expect(meant({ pattern: "x".repeat(2000), matcher: "pcre" })).toBe(false);
  expect(meant({ pattern: ")/; process.exit(3); //", matcher: "pcre" })).toBe(false);
});
