import { expect, test } from "vitest";

import { abortable } from "./abortable.ts";

test("what is given up before it is waited for may fail unheard", async () => {
  const unheard: unknown[] = [];
  const hear = (reason: unknown): void => void unheard.push(reason);
  process.on("unhandledRejection", hear);
  let fail = (_error: Error): void => undefined;
  const promise = new Promise<never>((_, reject) => (fail = reject));
  await expect(abortable(promise, AbortSignal.abort(new Error("too late")))).rejects.toThrow("too late");
  fail(new Error("the connection broke"));
  await new Promise(setImmediate);
  process.off("unhandledRejection", hear);
  expect(unheard).toEqual([]);
});
