/** Every result document that real Celery wrote is read, and written again with the same meaning. */
import { describe, expect, test } from "vitest";
import { decodeResult, encodeResult } from "../../src/protocol/result.ts";
import { fromWireException } from "../../src/protocol/exception.ts";
import { formatInstant } from "../../src/protocol/instant.ts";
import { fixtures } from "./fixtures.ts";

const accept = new Set(["application/json"]);
const recorded = fixtures("results").flatMap(({ path, data }) =>
  Object.entries((data.metas ?? {}) as Record<string, { raw?: string } | null>).flatMap(([id, meta]) =>
    meta?.raw === undefined ? [] : [{ name: `${path} ${id}`, raw: meta.raw }],
  ),
);

test("there is something to check", () => expect(recorded.length).toBeGreaterThan(40));

describe.each(recorded)("$name", ({ raw }) => {
  test("is read, and written again with the same meaning", () => {
    const meta = JSON.parse(raw) as Record<string, unknown>;
    const document = decodeResult(raw, { accept, serializer: "json" });
    expect(document.state).toBe(meta.status);
    expect(document.taskId).toBe(meta.task_id);
    const again = JSON.parse(encodeResult(document, { serializer: "json" }) as string) as Record<string, unknown>;
    const expected = { ...meta };
    if (typeof expected.date_done === "string") expected.date_done = formatInstant(document.dateDoneAt as number).text;
    expect(again).toEqual(expected);
  });

  test("an exception becomes an error that says what it was", () => {
    const document = decodeResult(raw, { accept, serializer: "json" });
    if (document.error === undefined) return;
    const error = fromWireException(document.error);
    expect(error).toBeInstanceOf(Error);
    expect(error.message).not.toBe("");
    expect((error as { wire?: unknown }).wire).toMatchObject({ type: document.error.type });
  });
});

test("a result begins with its state, as Celery's do: scripts look at that", () => {
  const document = { taskId: "a", state: "SUCCESS", result: 1, error: undefined, traceback: null, children: [], dateDoneAt: 0 };
  expect(encodeResult(document, { serializer: "json" })).toMatch(
    /^\{"status": "SUCCESS", "result": 1, "traceback": null, "children": \[\], "date_done": "1970-01-01T00:00:00.000000\+00:00"/,
  );
  for (const { raw } of recorded) expect(raw).toMatch(/^\{"status": "/);
});
