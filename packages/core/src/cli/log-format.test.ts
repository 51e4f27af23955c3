import pc from "picocolors";
import { expect, test } from "vitest";
import { formatLogLine, type LogRecord } from "./log-format.ts";

const at = new Date(2026, 10, 21, 10, 0, 0, 7).getTime();
const plain = (record: Partial<LogRecord>): string =>
  formatLogLine({ at, level: "info", process: "MainProcess", fields: {}, message: "hello", ...record }, pc.createColors(false));

test("a line looks as Celery's does", () => {
  expect(plain({})).toBe("[2026-11-21 10:00:00,007: INFO/MainProcess] hello\n");
  expect(plain({ level: "warn" })).toContain(": WARNING/MainProcess]");
});

test("what a task logs carries its name and id, and a sentence that names it is not lengthened", () => {
  const fields = { task: "shop.add", taskId: "id-1" };
  expect(plain({ fields })).toBe("[2026-11-21 10:00:00,007: INFO/MainProcess] shop.add[id-1]: hello\n");
  expect(plain({ fields: { ...fields, runtimeMs: 3 }, message: "Task shop.add[id-1] received" })).toBe(
    "[2026-11-21 10:00:00,007: INFO/MainProcess] Task shop.add[id-1] received\n",
  );
});

test("what the sentence says already is not said twice", () => {
  expect(plain({ fields: { worker: "celery@h", queues: ["a", "b"] }, message: "celery@h ready." })).toMatch(
    / celery@h ready\. queues=a,b\n$/,
  );
});

test("other fields follow, and an error's stack on lines of its own", () => {
  expect(plain({ fields: { queue: "a b", free: 3, none: undefined } })).toBe(
    '[2026-11-21 10:00:00,007: INFO/MainProcess] hello queue="a b" free=3\n',
  );
  const [head, ...stack] = plain({ level: "error", fields: { err: new TypeError("bad") } }).split("\n");
  expect(head).toBe("[2026-11-21 10:00:00,007: ERROR/MainProcess] hello");
  expect(stack[0]).toBe("TypeError: bad");
  expect(stack.at(-1)).toBe("");
});

test("no text can forge a line or move the cursor", () => {
  const line = plain({ message: "a\n[2026-11-21 10:00:00,007: INFO/MainProcess] forged \u001b[2J\r", fields: { note: "x\ny" } });
  expect(line.match(/\n/g)).toHaveLength(1);
  expect(line).not.toMatch(/[\u001b\r]/); // eslint-disable-line no-control-regex
});

test("levels differ in colour", () => {
  const colors = pc.createColors(true);
  const lines = (["debug", "info", "warn", "error"] as const).map(
    (level) => formatLogLine({ at, level, process: "M", fields: {}, message: "x" }, colors).split("[2026")[0],
  );
  expect(new Set(lines).size).toBe(4);
});
