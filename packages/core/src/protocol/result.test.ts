import { describe, expect, test } from "vitest";
import { decodeResult, encodeResult, type ResultDocument } from "./result.ts";

const accept = new Set(["application/json", "application/x-yaml", "application/x-msgpack"]);
const base: ResultDocument = {
  taskId: "id",
  state: "FAILURE",
  result: undefined,
  error: undefined,
  traceback: null,
  children: [],
  dateDoneAt: 0,
};

describe.each(["json", "yaml", "msgpack"])("%s", (serializer) => {
  const again = (document: ResultDocument): ResultDocument => decodeResult(encodeResult(document, { serializer }), { accept, serializer });

  test("a failure is stored whatever its arguments are", () => {
    const circle: unknown[] = [];
    circle.push(circle);
    const args = ["text", 1, Number.NaN, () => 1, new Map(), circle, { a: undefined }];
    const { error } = again({ ...base, error: { type: "Odd", module: "js.errors", args } });
    expect(error).toMatchObject({ type: "Odd", module: "js.errors" });
    expect(error?.args.slice(0, 4)).toEqual(["text", 1, "nan", "<function>"]);
    expect(error?.args).toHaveLength(args.length);
  });

  test("arguments with what only Python can write do not keep a result from being stored", () => {
    const extended = { name: "t", args: [Number.NaN, 1], kwargs: { a: Infinity }, worker: "w", retries: 0, queue: undefined };
    const document = again({ ...base, state: "SUCCESS", result: 1, extended });
    expect(document).toMatchObject({ state: "SUCCESS", result: 1, extended: { name: "t", worker: "w", queue: undefined } });
    expect(String(document.extended?.args[0]).toLowerCase()).toBe("nan");
  });

  test("stamps", () => {
    const stamps = { monitoring: "m-1", list: [1] };
    expect(again({ ...base, state: "SUCCESS", result: 1, stamps }).stamps).toEqual(stamps);
    expect(again({ ...base, state: "SUCCESS", result: 1, stamps: {} }).stamps).toBeUndefined();
  });

  test("everything is as it was", () => {
    const error = { type: "ValueError", module: "builtins", args: ["boom", 42] };
    const document = { ...base, error, traceback: "Traceback\n é", children: [[["c", null], null]], parentId: "p", groupId: "g" };
    expect(again(document)).toEqual({ ...document, extended: undefined, stamps: undefined });
  });
});

test.each([
  ['{"status": "SUCCESS"}', { state: "SUCCESS", result: undefined, dateDoneAt: null, children: [], taskId: "" }],
  ['{"status": "SUCCESS", "result": 1, "date_done": "whenever"}', { result: 1, dateDoneAt: null }],
  ['{"status": "SUCCESS", "stamped_headers": ["__proto__", 5, "x"]}', { stamps: {} }],
  ['{"status": "FAILURE", "result": "text"}', { error: { type: "Exception", args: ["text"] } }],
  ['{"status": "PROGRESS", "result": {"done": 1}}', { result: { done: 1 }, error: undefined }],
])("%s is read", (text, expected) => expect(decodeResult(text, { accept, serializer: "json" })).toMatchObject(expected));
