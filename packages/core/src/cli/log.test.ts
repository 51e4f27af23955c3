import { setImmediate } from "node:timers/promises";
import pc from "picocolors";
import { expect, test } from "vitest";
import type { Logger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { LineWriter, makeLogger, type LogFormat, type LogLevelName } from "./log.ts";

async function logger(format: LogFormat, level: LogLevelName): Promise<{ log: Logger; lines: LineWriter; written: string[] }> {
  const written: string[] = [];
  const lines = new LineWriter((text) => written.push(text));
  const log = await makeLogger({ format, level, process: "MainProcess", colors: pc.createColors(false), lines, clock: new FakeClock() });
  return { log, lines, written };
}

test("the first line of a turn is written at once, the others together when it ends", async () => {
  const { log, written } = await logger("human", "info");
  for (const word of ["one", "two", "three"]) log.info({}, word);
  expect(written).toHaveLength(1);
  expect(written[0]).toContain("one");
  await setImmediate();
  expect(written).toHaveLength(2);
  expect(written[1]).toMatch(/two\n.*three\n$/);
});

test("what is pending when the process ends can be written then", async () => {
  const { log, lines, written } = await logger("human", "info");
  log.info({}, "one");
  log.info({}, "two");
  lines.flush();
  lines.flush();
  expect(written).toHaveLength(2);
  expect(written[1]).toContain("two");
});

test("levels below the one asked for are off, in both formats", async () => {
  for (const format of ["human", "json"] as const) {
    const { log, written } = await logger(format, "warning");
    log.info({}, "no");
    log.warn({}, "yes");
    await setImmediate();
    expect(written.join("")).toContain("yes");
    expect(written.join("")).not.toContain("no ");
    expect([log.isLevelEnabled?.("info"), log.isLevelEnabled?.("warn"), log.isLevelEnabled?.("error")]).toEqual([false, true, true]);
    expect((await logger(format, "critical")).log.isLevelEnabled?.("error")).toBe(false);
  }
});

test("JSON is pino's, with the process and the fields of children", async () => {
  const { log, written } = await logger("json", "info");
  log.child({ task: "shop.add" }).info({ taskId: "1" }, "hello");
  const line = JSON.parse(written[0] as string) as Record<string, unknown>;
  expect(line).toMatchObject({ level: 30, process: "MainProcess", task: "shop.add", taskId: "1", msg: "hello", pid: process.pid });
});

test("users may log as with pino: a text alone, or an error", async () => {
  const { log, written } = await logger("human", "info");
  const loose = log as unknown as { info(first: unknown): void };
  loose.info("just a text");
  loose.info(new Error("an error"));
  await setImmediate();
  expect(written.join("")).toMatch(/just a text\n.*an error\nError: an error/);
});
