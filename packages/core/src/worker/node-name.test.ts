import { expect, test } from "vitest";

import { nodeName } from "./node-name.ts";

test.each([
  ["celery@%h", "web1.example.org", "celery@web1.example.org"],
  ["w1", "web1", "w1@web1"],
  ["w1@%h", "web1", "w1@web1"],
  ["w1@%n.%d", "web1.example.org", "w1@w1.example.org"],
  ["100%%@%h", "web1", "100%@web1"],
])("%s on %s is %s", (pattern, host, name) => {
  expect(nodeName(pattern, host)).toBe(name);
});
