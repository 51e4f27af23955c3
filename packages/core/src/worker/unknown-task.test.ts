import { expect, test } from "vitest";

import type { Message } from "../protocol/message.ts";
import { planUnknownTask } from "./unknown-task.ts";

const TTL_MS = 600_000;

function message(headers: Record<string, unknown> = {}): Message {
  return {
    headers: { id: "1", task: "shop.gone", ...headers },
    properties: { correlationId: "1", replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} },
    contentType: "application/json",
    contentEncoding: "utf-8",
    body: new Uint8Array(),
  };
}

test("a message for an unknown task is seen again at growing distances until its time is up, then dead-lettered", () => {
  let now = 1_000_000;
  const start = now;
  let current = message();
  const waits: number[] = [];
  for (;;) {
    const step = planUnknownTask(current, now, TTL_MS);
    if (step.kind === "deadLetter") {
      expect(step.firstSeenAt).toBe(start);
      break;
    }
    waits.push(step.dueAt - now);
    now = step.dueAt;
    current = step.message;
  }
  expect(waits.slice(0, 8)).toEqual([1000, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]);
  expect(now - start).toBe(TTL_MS);
  expect(waits.length).toBeLessThan(20);
});

test("the header is written once, and nothing else of the message changes", () => {
  const first = planUnknownTask(message({ own: 1 }), 5000, TTL_MS);
  if (first.kind !== "park") throw new Error("parked");
  expect(first.message.headers).toEqual({ id: "1", task: "shop.gone", own: 1, lovage_unknown_since: 5000 });
  const second = planUnknownTask(first.message, 7000, TTL_MS);
  if (second.kind !== "park") throw new Error("parked");
  expect(second.message).toBe(first.message);
});

test.each([["a text"], [Number.NaN], [9_999_999], [null]])("a first sight that cannot be (%s) counts from now", (header) => {
  const step = planUnknownTask(message({ lovage_unknown_since: header }), 5000, TTL_MS);
  expect(step).toMatchObject({ kind: "park", dueAt: 6000 });
});
