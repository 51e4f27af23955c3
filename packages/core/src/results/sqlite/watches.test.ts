import { expect, test } from "vitest";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import { Watches } from "./watches.ts";

test("a result that another process stores while the watch begins is not missed", async () => {
  let stored: { number: number; document: string } | undefined;
  let ring = (): void => {};
  /** Another process stores between this connection's first statement and its second. */
  let statements = 0;
  const statement = (run: () => unknown): unknown => {
    const answer = run();
    if (++statements === 1) stored = { number: 1, document: "done" };
    return answer;
  };
  const answers: Record<string, (...args: unknown[]) => unknown> = {
    "result.fetch": () => stored && { document: stored.document },
    "result.last": () => ({ last: stored?.number ?? 0 }),
    "result.after": () => (stored ? [{ task: "t" }] : []),
    "result.changed": (_task, last) => (stored && stored.number > (last as number) ? { document: stored.document } : undefined),
  };
  const file = {
    clock: { now: () => 0 },
    bell: { listen: (_matter: string, listener: () => void) => ((ring = listener), { [Symbol.dispose]() {} }) },
    sql: (name: string) => {
      const answer = (...args: unknown[]): unknown => statement(() => answers[name]?.(...args));
      return { get: answer, all: answer };
    },
  } as unknown as SqliteFile;
  const told: unknown[] = [];
  new Watches(file).add("t", (document) => told.push(document));
  ring();
  await Promise.resolve();
  expect(told[0]).toBe("done");
});
