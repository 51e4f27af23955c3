/** What every result backend does. A driver runs it with a stand of its own: one store, and as many backends on it as a test opens. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ResultBackend, ResultText, ResultWrite } from "../../src/results/result-backend.ts";
import { eventually } from "../support/eventually.ts";
import { batchesConformance } from "./batches.ts";
import { groupConformance } from "./groups.ts";

export interface BackendStand extends AsyncDisposable {
  /** Another backend on the same store. The stand closes it. */
  open(): Promise<ResultBackend>;
  /** Whether expired results go by themselves or by `cleanup`, in real time. Default true. */
  readonly expires?: boolean;
}

/** As `protocol/result.ts` writes it: drivers look at how it begins. */
export const documentOf = (taskId: string, state: string, result: unknown = 1): string =>
  `{"status": "${state}", "result": ${JSON.stringify(result)}, "task_id": "${taskId}"}`;
const write = (taskId: string, state: string, result?: unknown): ResultWrite => ({
  taskId,
  state,
  document: documentOf(taskId, state, result),
  expiresMs: 60_000,
});
const stateOf = (document: ResultText | undefined): string | undefined =>
  document === undefined ? undefined : (JSON.parse(String(document)) as { status: string }).status;

export function resultBackendConformance(name: string, openStand: () => Promise<BackendStand>): void {
  batchesConformance(name, openStand);
  describe(`result backend conformance: ${name}`, () => {
    let stand: BackendStand;
    let backend: ResultBackend;

    beforeEach(async () => {
      stand = await openStand();
      backend = await stand.open();
    });
    afterEach(async () => {
      await stand[Symbol.asyncDispose]();
    });

    test("what is stored is fetched as it was, in the order asked, undefined where there is none", async () => {
      await backend.store([write("a", "SUCCESS", { text: "é\u2028", list: [] }), write("b", "FAILURE")]);
      const other = await stand.open();
      expect(await other.fetch(["b", "none", "a"])).toEqual([
        documentOf("b", "FAILURE"),
        undefined,
        documentOf("a", "SUCCESS", { text: "é\u2028", list: [] }),
      ]);
      expect(await other.fetch([])).toEqual([]);
    });

    test("bytes stay bytes", async () => {
      const document = Buffer.from([0x82, 0xa6, ...Buffer.from("status"), 0xa7, ...Buffer.from("SUCCESS"), 0xc4, 0x02, 0xff, 0x00]);
      await backend.store([{ taskId: "a", state: "SUCCESS", document, expiresMs: undefined }]);
      const [fetched] = await backend.fetch(["a"]);
      expect(fetched).toBeInstanceOf(Uint8Array);
      expect(Buffer.from(fetched as Uint8Array).equals(document)).toBe(true);
    });

    test("a state is replaced by any later one, but SUCCESS never", async () => {
      for (const [state, expected] of [
        ["STARTED", "STARTED"],
        ["RETRY", "RETRY"],
        ["FAILURE", "FAILURE"],
        ["STARTED", "STARTED"],
        ["SUCCESS", "SUCCESS"],
        ["FAILURE", "SUCCESS"],
        ["REVOKED", "SUCCESS"],
      ] as const) {
        await backend.store([write("a", state)]);
        expect(stateOf((await backend.fetch(["a"]))[0])).toBe(expected);
      }
    });

    test("a result that only speaks of SUCCESS is not taken for one", async () => {
      await backend.store([write("a", "FAILURE", { status: "SUCCESS" })]);
      await backend.store([write("a", "SUCCESS", 2)]);
      expect(stateOf((await backend.fetch(["a"]))[0])).toBe("SUCCESS");
      await backend.store([{ taskId: "b", state: "SUCCESSFUL", document: documentOf("b", "SUCCESSFUL"), expiresMs: undefined }]);
      await backend.store([write("b", "FAILURE")]);
      expect(stateOf((await backend.fetch(["b"]))[0])).toBe("FAILURE");
    });

    test("many writes in one call, several for one task", async () => {
      const ids = Array.from({ length: 700 }, (_, i) => `t${i}`);
      await backend.store(ids.flatMap((id) => [write(id, "STARTED"), write(id, "SUCCESS", id)]));
      expect((await backend.fetch(ids)).map(stateOf)).toEqual(ids.map(() => "SUCCESS"));
    });

    test("forget removes, and then there is nothing", async () => {
      await backend.store([write("a", "SUCCESS"), write("b", "SUCCESS")]);
      await backend.forget(["a", "none"]);
      expect((await backend.fetch(["a", "b"])).map(stateOf)).toEqual([undefined, "SUCCESS"]);
      await backend.store([write("a", "FAILURE")]);
      expect((await backend.fetch(["a"])).map(stateOf)).toEqual(["FAILURE"]);
    });

    test("what has expired is gone", async () => {
      if (stand.expires === false) return;
      await backend.store([{ ...write("a", "SUCCESS"), expiresMs: 50 }, write("b", "SUCCESS")]);
      await eventually("a has expired", async () => {
        await backend.cleanup?.();
        return (await backend.fetch(["a"]))[0] === undefined;
      });
      expect((await backend.fetch(["b"])).map(stateOf)).toEqual(["SUCCESS"]);
    });

    describe("watching", () => {
      test("a watch tells what is there, then every document stored by anybody", async () => {
        const other = await stand.open();
        await other.store([write("a", "STARTED")]);
        const seen: (string | undefined)[] = [];
        using _watch = await backend.watch("a", (document) => seen.push(stateOf(document)));
        await eventually("the state that was there", () => seen.includes("STARTED"));
        await other.store([write("a", "RETRY"), write("b", "SUCCESS")]);
        await other.store([write("a", "SUCCESS")]);
        await eventually("the outcome", () => seen.at(-1) === "SUCCESS");
        expect(seen).toContain("RETRY");
      });

      test("a watch is in force when it is given: what is stored right after is told", async () => {
        const other = await stand.open();
        for (let i = 0; i < 30; i += 1) {
          let told: (state: string | undefined) => void = () => undefined;
          const outcome = new Promise<string | undefined>((resolve) => (told = resolve));
          using _watch = await backend.watch(`t${i}`, (document) => told(stateOf(document)));
          await other.store([write(`t${i}`, "SUCCESS")]);
          expect(await outcome).toBe("SUCCESS");
        }
      });

      test("two watches of one task are both told, and one may end", async () => {
        const seen: string[][] = [[], []];
        const first = await backend.watch("a", (document) => seen[0]?.push(String(stateOf(document))));
        using _second = await backend.watch("a", (document) => seen[1]?.push(String(stateOf(document))));
        await backend.store([write("a", "STARTED")]);
        await eventually("both told", () => seen.every((states) => states.includes("STARTED")));
        first[Symbol.dispose]();
        await backend.store([write("a", "SUCCESS")]);
        await eventually("the other told", () => seen[1]?.includes("SUCCESS"));
        expect(seen[0]).not.toContain("SUCCESS");
      });

      test("a late second watch is told what is there too", async () => {
        using _first = await backend.watch("a", () => undefined);
        await backend.store([write("a", "SUCCESS")]);
        const seen: (string | undefined)[] = [];
        using _second = await backend.watch("a", (document) => seen.push(stateOf(document)));
        await eventually("told", () => seen.includes("SUCCESS"));
      });

      test("a task can be watched again after its watch ended", async () => {
        (await backend.watch("a", () => undefined))[Symbol.dispose]();
        const seen: (string | undefined)[] = [];
        using _watch = await backend.watch("a", (document) => seen.push(stateOf(document)));
        await backend.store([write("a", "SUCCESS")]);
        await eventually("told", () => seen.includes("SUCCESS"));
      });

      test("hundreds of watches, each told of its own task alone", async () => {
        const other = await stand.open();
        const ids = Array.from({ length: 600 }, (_, i) => `t${i}`);
        const told = new Map<string, string>();
        const watches = await Promise.all(
          ids.map(
            async (id) =>
              await backend.watch(id, (document) => void told.set(id, (JSON.parse(String(document)) as { task_id: string }).task_id)),
          ),
        );
        await other.store(ids.map((id) => write(id, "SUCCESS")));
        await eventually("all told", () => told.size === ids.length);
        expect([...told].every(([id, taskId]) => id === taskId)).toBe(true);
        for (const watch of watches) watch[Symbol.dispose]();
      });
    });

    groupConformance(() => ({ backend, other: () => stand.open() }));

    test("a read whose signal has aborted rejects with its reason", async () => {
      const reason = new Error("enough");
      await expect(backend.fetch(["a"], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    });
  });
}
