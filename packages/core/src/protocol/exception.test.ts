/** Errors under the names that Python knows, and back. */
import { connect } from "node:net";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { NotRegistered, TimeLimitExceeded, WorkerLostError } from "./celery-errors.ts";
import { fromWireException, readWireException, RemoteTaskError, toWireException, wireDocument } from "./exception.ts";

class PaymentDeclined extends Error {}
class BadInput extends TypeError {}
class Named extends Error {
  override readonly name = "shop.Named";
}
class ValueError extends Error {}

describe("what JavaScript throws", () => {
  test.each([
    [new Error("x"), "Exception", "builtins"],
    [new TypeError("x"), "TypeError", "builtins"],
    [new RangeError("x"), "ValueError", "builtins"],
    [new SyntaxError("x"), "SyntaxError", "builtins"],
    [new ReferenceError("x"), "NameError", "builtins"],
    [new ValueError("x"), "ValueError", "builtins"],
    [new PaymentDeclined("x"), "PaymentDeclined", "js.errors"],
    [new BadInput("x"), "BadInput", "js.errors"],
    [new Named("x"), "shop.Named", "js.errors"],
    [new DOMException("x", "AbortError"), "AbortError", "js.errors"],
    [new DOMException("x", "TimeoutError"), "TimeoutError", "builtins"],
    [new AggregateError([], "x"), "AggregateError", "js.errors"],
    [Object.assign(new Error("x"), { name: "" }), "Exception", "builtins"],
    [Object.assign(new Error("x"), { wire: { type: 1 } }), "Exception", "builtins"],
  ])("%s", (error, type, module) => expect(toWireException(error)).toEqual({ type, module, args: ["x"] }));

  test.each([["text"], [17], [null], [{ a: 1 }], [Symbol("x")], [undefined]])("%s, which is no error", (thrown) => {
    expect(toWireException(thrown)).toMatchObject({ type: "Exception", module: "builtins" });
  });

  test("what cannot even be read is named all the same", () => {
    const odd = Object.defineProperty(new Error("x"), "name", {
      get() {
        throw new Error("no");
      },
    });
    expect(toWireException(odd)).toMatchObject({ type: "Exception" });
    expect(toWireException(new Proxy(new Error("x"), { get: () => sleep }))).toMatchObject({ type: expect.any(String) });
  });

  test("an error of Node's own bears the name of its kind", () => {
    let thrown: unknown;
    try {
      Buffer.alloc("x" as unknown as number);
    } catch (error) {
      thrown = error;
    }
    expect(toWireException(thrown)).toMatchObject({ type: "TypeError", module: "builtins" });
  });
});

describe("what the system says", () => {
  test("a refused connection, also of fetch and of several addresses", async () => {
    const [refused] = (await once(connect(1, "127.0.0.1"), "error").catch((error: unknown) => [error])) as [Error];
    const expected = { type: "ConnectionRefusedError", module: "builtins", args: [111, expect.stringContaining("ECONNREFUSED")] };
    if (process.platform === "linux") expect(toWireException(refused)).toEqual(expected);
    expect(toWireException(new TypeError("fetch failed", { cause: refused })).type).toBe("ConnectionRefusedError");
    const several = Object.assign(new AggregateError([refused, refused], ""), { code: "ECONNREFUSED" });
    expect(toWireException(several).type).toBe("ConnectionRefusedError");
  });

  test("a file that is not there", async () => {
    const error: unknown = await readFile("/does/not/exist").catch((failure: unknown) => failure);
    expect(toWireException(error)).toEqual({ type: "FileNotFoundError", module: "builtins", args: [2, expect.any(String)] });
  });

  test.each([
    ["ECONNRESET", undefined, "ConnectionResetError", "builtins"],
    ["EPIPE", undefined, "BrokenPipeError", "builtins"],
    ["ETIMEDOUT", "ETIMEDOUT", "TimeoutError", "builtins"],
    ["EPERM", -1, "PermissionError", "builtins"],
    ["EXDEV", -18, "OSError", "builtins"],
    ["ENOTFOUND", -3008, "gaierror", "socket"],
    ["UND_ERR_CONNECT_TIMEOUT", undefined, "TimeoutError", "builtins"],
    ["ERR_SOMETHING", undefined, "Exception", "builtins"],
  ])("%s", (code, errno, type, module) => {
    expect(toWireException(Object.assign(new Error("x"), { code, errno }))).toMatchObject({ type, module });
  });

  test("an aggregate that holds itself ends", () => {
    const odd = new AggregateError([], "");
    odd.errors.push(odd);
    expect(toWireException(odd).type).toBe("AggregateError");
  });
});

describe("what comes back", () => {
  test.each([
    [new NotRegistered("shop.add")],
    [new TimeLimitExceeded(30)],
    [new WorkerLostError("gone")],
    [new RemoteTaskError({ type: "CustomError", module: "app", args: ["custom", { k: [1, 2] }] })],
    [new PaymentDeclined("no")],
  ])("%s says the same there and back", (error) => {
    const wire = toWireException(error);
    const back = fromWireException(wireDocument(wire));
    expect(toWireException(back)).toEqual(wire);
    if ("wire" in error) expect(back.constructor).toBe(error.constructor);
  });

  test("arguments that a class of ours does not take stay", () => {
    const document = { exc_type: "WorkerLostError", exc_message: ["gone", 17], exc_module: "billiard.exceptions" };
    const error = fromWireException(document);
    expect(error).toBeInstanceOf(WorkerLostError);
    expect(wireDocument(toWireException(error))).toEqual(document);
  });

  test("an application's class is not taken for Celery's of the same name", () => {
    const error = fromWireException({ exc_type: "Reject", exc_message: ["no"], exc_module: "shop.errors" });
    expect(error).toBeInstanceOf(RemoteTaskError);
    expect(error).toMatchObject({ type: "Reject", module: "shop.errors", args: ["no"], message: "Reject: no" });
  });

  test("the message reads as Python's", () => {
    const text = (args: unknown): string =>
      fromWireException({ exc_type: "ValueError", exc_message: args, exc_module: "builtins" }).message;
    expect(text(["boom", 42, { k: [1] }])).toBe("ValueError: 'boom', 42, {'k': [1]}");
    expect(text([{ k: 1 }])).toBe("ValueError: {'k': 1}");
    expect(text([])).toBe("ValueError");
    expect(text("old peers send text")).toBe("ValueError: old peers send text");
  });

  test("what Python's pool could not pickle is unwrapped", () => {
    const wrapped = (...args: unknown[]): unknown =>
      readWireException({ exc_type: "UnpickleableExceptionWrapper", exc_message: args, exc_module: "celery.utils.serialization" });
    expect(wrapped("shop", "Odd", ["a", 1], "Odd(...)")).toEqual({ type: "Odd", module: "shop", args: ["a", 1] });
    expect(wrapped("shop", "Odd")).toEqual({ type: "Odd", module: "shop", args: [] });
  });

  test.each([[null], [undefined], ["text"], [5], [[]], [{}], [{ exc_type: 5 }], [{ exc_type: "__proto__", exc_message: { a: 1 } }]])(
    "%j is read as some exception",
    (document) => expect(fromWireException(document)).toBeInstanceOf(Error),
  );
});
