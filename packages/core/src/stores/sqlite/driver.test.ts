import { expect, test } from "vitest";
import { isUnsafeVersion, loadSqlite } from "./driver.ts";

test.each([
  ["3.51.2", true],
  ["3.50.4", true],
  ["3.9.9", true],
  ["3.51.3", false],
  ["3.53.0", false],
  ["4.0.0", false],
])("SQLite %s can damage a shared file: %s", (version, unsafe) => {
  expect(isUnsafeVersion(version)).toBe(unsafe);
});

test("loading says nothing, and other warnings pass", async () => {
  const warnings: string[] = [];
  const listen = (warning: Error): void => void warnings.push(warning.message);
  process.on("warning", listen);
  await loadSqlite();
  process.emitWarning("another one", "ExperimentalWarning");
  await new Promise(setImmediate);
  process.off("warning", listen);
  expect(warnings).toEqual(["another one"]);
});
