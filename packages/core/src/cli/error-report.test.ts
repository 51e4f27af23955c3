import pc from "picocolors";
import { expect, test } from "vitest";
import { ResultTimeoutError, SettingError } from "../app/errors.ts";
import { BrokerUnavailableError } from "../brokers/errors.ts";
import { errorLines, reportError } from "./error-report.ts";
import { UsageError } from "./errors.ts";
import { isPermanent } from "./exit-codes.ts";

const PLAIN = pc.createColors(false);

test("errors have the exit codes that are documented, and say their cause", () => {
  const refused = new BrokerUnavailableError("redis://db:1/0", new Error("connect ECONNREFUSED 10.0.0.1:1"));
  expect(reportError(refused)).toMatchObject({
    exit: 69,
    code: "BROKER_UNAVAILABLE",
    message: "cannot reach the broker at redis://db:1/0: connect ECONNREFUSED 10.0.0.1:1",
  });
  expect(reportError(new BrokerUnavailableError("redis://db:1/0", new AggregateError([new Error("a"), new Error("b")]))).message).toMatch(
    /: a, b$/,
  );
  expect(reportError(new SettingError("x", "the code", "x is bad"))).toMatchObject({ exit: 78 });
  expect(reportError(new ResultTimeoutError("id", 10, "PENDING"))).toMatchObject({ exit: 75 });
  expect(reportError(new UsageError("what?", "so"))).toEqual({ exit: 2, code: "USAGE", message: "what?", hint: "so" });
  expect(reportError(new TypeError("oops"))).toMatchObject({ exit: 70, code: "INTERNAL", message: "oops" });
});

test("an error of another copy of the library is known by its code", () => {
  const foreign = Object.assign(new Error("cannot reach it"), { code: "BROKER_UNAVAILABLE" });
  expect(reportError(foreign)).toMatchObject({ exit: 69, message: "cannot reach it" });
  expect(reportError(Object.assign(new Error("x"), { code: "toString" }))).toMatchObject({ exit: 70 });
});

test("an error is one line and a hint; its stack only when asked for; JSON for programs", () => {
  const error = new UsageError("what?", "so");
  const report = reportError(error);
  expect(errorLines(report, error, { json: false, traceback: false, colors: PLAIN })).toBe("error: what?\nhint: so\n");
  expect(errorLines(report, error, { json: false, traceback: true, colors: PLAIN })).toContain("error-report.test.ts");
  expect(JSON.parse(errorLines(report, error, { json: true, traceback: false, colors: PLAIN }))).toEqual({
    error: { code: "USAGE", message: "what?", hint: "so" },
  });
});

test("starting again does not help against a wrong command line, module or setting", () => {
  expect([0, 1, 2, 66, 69, 70, 75, 78].filter(isPermanent)).toEqual([2, 66, 78]);
});
