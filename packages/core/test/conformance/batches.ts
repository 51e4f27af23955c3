/** What every store of batches does: run by result-backend.ts for each backend that has one. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Batches, BatchRecord, MemberEnd, NewBatch } from "../../src/results/batches.ts";
import { eventually } from "../support/eventually.ts";
import type { BackendStand } from "./result-backend.ts";

const newBatch = (id: string, more: Partial<NewBatch> = {}): NewBatch => ({
  id,
  document: `{"name": "${id}"}`,
  callbacks: ["success", "complete", "death"],
  parentId: undefined,
  expiresMs: 60_000,
  ...more,
});
const ended = (state: MemberEnd["state"], ...places: readonly number[]): MemberEnd[] => places.map((place) => ({ place, state }));

export function batchesConformance(name: string, openStand: () => Promise<BackendStand>): void {
  describe(`batches conformance: ${name}`, () => {
    let stand: BackendStand;
    let batches: Batches;

    beforeEach(async () => {
      stand = await openStand();
      batches = (await stand.open()).batches as Batches;
    });
    afterEach(async () => {
      await stand[Symbol.asyncDispose]();
    });

    const events = async (): Promise<string[]> =>
      (await batches.due({ limit: 100, minAgeMs: 0 })).map(({ id, event }) => `${id} ${event}`).toSorted();
    const record = async (id: string): Promise<BatchRecord> => {
      const [found] = await batches.read([id]);
      return found as BatchRecord; // the tests read what they have begun
    };
    const counts = async (id: string): Promise<readonly number[]> => {
      const { total, succeeded, failed, dead } = await record(id);
      return [total, succeeded, failed, dead];
    };
    const add = async (id: string, count: number, adder = "-x", sequence = 0): Promise<number> => {
      const reserved = await batches.reserve(id, { adder, sequence, count });
      await batches.confirm(id, adder, sequence);
      return reserved?.first ?? -1;
    };

    test("a batch is read by anybody as it was begun, and beginning it again changes nothing", async () => {
      expect(await batches.begin(newBatch("a"))).toBe(true);
      await add("a", 2);
      expect(await batches.begin(newBatch("a", { document: "another" }))).toBe(true);
      const other = (await stand.open()).batches as Batches;
      const [found, none] = await other.read(["a", "none"]);
      expect(found).toMatchObject({ id: "a", document: '{"name": "a"}', total: 2, succeeded: 0, failed: 0, dead: 0, sealedAt: undefined });
      expect(Math.abs((found?.createdAt ?? 0) - Date.now())).toBeLessThan(60_000);
      expect(none).toBeUndefined();
    });

    test("places follow each other, and the same reservation gets the same ones", async () => {
      await batches.begin(newBatch("a"));
      expect(await batches.reserve("a", { adder: "-x", sequence: 0, count: 3 })).toEqual({ first: 0, isPublished: false });
      expect(await batches.reserve("a", { adder: "t1", sequence: 0, count: 2 })).toEqual({ first: 3, isPublished: false });
      expect(await batches.reserve("a", { adder: "-x", sequence: 0, count: 3 })).toEqual({ first: 0, isPublished: false });
      expect(await batches.reserve("a", { adder: "t1", sequence: 1, count: 1 })).toEqual({ first: 5, isPublished: false });
      expect((await batches.unconfirmed("a")).toSorted((a, b) => a.first - b.first)).toEqual([
        { first: 0, count: 3 },
        { first: 3, count: 2 },
        { first: 5, count: 1 },
      ]);
      await batches.confirm("a", "-x", 0);
      await batches.confirm("a", "t1", 0);
      expect(await batches.reserve("a", { adder: "t1", sequence: 0, count: 2 })).toEqual({ first: 3, isPublished: true });
      expect(await batches.unconfirmed("a")).toEqual([{ first: 5, count: 1 }]);
      expect(await batches.reserve("a", { adder: "t1", sequence: 0, count: 4 })).toEqual({ first: 6, isPublished: false }); // another number is another reservation
      expect(await batches.reserve("none", { adder: "-x", sequence: 0, count: 1 })).toBeUndefined();
      expect((await counts("a"))[0]).toBe(10);
    });

    test("a member counts once, its first success stays, and of other ends the last counts", async () => {
      await batches.begin(newBatch("a"));
      await add("a", 6);
      await batches.report("a", [...ended("succeeded", 0, 1), ...ended("failed", 2), ...ended("dead", 3)]);
      expect(await counts("a")).toEqual([6, 2, 1, 1]);
      await batches.report("a", [...ended("failed", 0), ...ended("succeeded", 1), ...ended("dead", 2), ...ended("succeeded", 3)]);
      expect(await counts("a")).toEqual([6, 3, 0, 1]);
      await batches.report("a", ended("succeeded", 6, 1_000_000)); // places that nobody has
      expect(await counts("a")).toEqual([6, 3, 0, 1]);
      expect(await batches.states("a", 0, 100)).toEqual(["succeeded", "succeeded", "dead", "succeeded", "pending", "pending"]);
      expect(await batches.states("a", 2, 3)).toEqual(["dead", "succeeded", "pending"]);
      expect(await batches.states("a", 6, 3)).toEqual([]);
      expect(await batches.states("none", 0, 3)).toEqual([]);
    });

    test("complete and success are due once, when the last member has ended and the batch is sealed", async () => {
      await batches.begin(newBatch("a"));
      await add("a", 2);
      await batches.report("a", ended("succeeded", 0, 1));
      expect(await events()).toEqual([]); // more may be added
      await add("a", 1, "-y");
      expect(await batches.seal("a")).toBe(true);
      expect(await events()).toEqual([]);
      expect(await batches.report("a", ended("succeeded", 2))).toBe(true);
      expect(await events()).toEqual(["a complete", "a success"]);
      expect(await batches.report("a", ended("succeeded", 2))).toBe(false);
      await batches.seal("a");
      for (const event of ["complete", "success"] as const) await batches.done({ id: "a", event });
      await batches.report("a", ended("succeeded", 1));
      expect(await events()).toEqual([]);
      const { completedAt, succeededAt, diedAt } = await record("a");
      expect([completedAt !== undefined, succeededAt !== undefined, diedAt !== undefined]).toEqual([true, true, false]);
      expect(await batches.reserve("a", { adder: "-z", sequence: 0, count: 1 })).toBeUndefined(); // too late
    });

    test("death is due with the first that fails for good; a success that comes after all makes the batch succeed", async () => {
      await batches.begin(newBatch("a"));
      await add("a", 3);
      await batches.seal("a");
      await batches.report("a", ended("dead", 0));
      expect(await events()).toEqual(["a death"]);
      await batches.report("a", [...ended("failed", 1), ...ended("succeeded", 2)]);
      expect(await events()).toEqual(["a complete", "a death"]);
      await batches.report("a", ended("succeeded", 0));
      expect(await events()).toEqual(["a complete", "a death"]);
      await batches.report("a", ended("succeeded", 1));
      expect(await events()).toEqual(["a complete", "a death", "a success"]);
    });

    test("only what it has callbacks for is due", async () => {
      await batches.begin(newBatch("a", { callbacks: ["success"] }));
      await add("a", 2);
      await batches.seal("a");
      expect(await batches.report("a", ended("failed", 0))).toBe(false);
      expect(await batches.report("a", ended("succeeded", 0, 1))).toBe(true);
      expect(await events()).toEqual(["a success"]);
    });

    test("an empty batch is complete and has succeeded when it is sealed", async () => {
      await batches.begin(newBatch("a"));
      await batches.seal("a");
      expect(await events()).toEqual(["a complete", "a success"]);
      expect(await batches.seal("none")).toBe(false);
    });

    test("a cancelled batch takes no members, and is told complete alone", async () => {
      await batches.begin(newBatch("a"));
      await add("a", 2);
      await batches.seal("a");
      expect(await batches.cancel("a")).toBe(true);
      expect(await batches.reserve("a", { adder: "-y", sequence: 0, count: 1 })).toBeUndefined();
      await batches.report("a", [...ended("failed", 0), ...ended("succeeded", 1)]);
      await batches.report("a", ended("succeeded", 0));
      expect(await events()).toEqual(["a complete"]);
      expect((await record("a")).cancelledAt).toBeDefined();
      expect(await batches.cancel("none")).toBe(false);
    });

    test("a child takes a place in its parent, once, and everything that happens to it is due", async () => {
      await batches.begin(newBatch("a"));
      await add("a", 1);
      const child = newBatch("b", { parentId: "a", callbacks: [] });
      expect(await batches.begin(child)).toBe(true);
      expect(await batches.begin(child)).toBe(true);
      expect((await counts("a"))[0]).toBe(2);
      expect(await record("b")).toMatchObject({ parentId: "a", place: 1 });
      await batches.begin(newBatch("c", { parentId: "a" }));
      expect(await batches.children("a", 0, 10)).toEqual([
        { place: 1, id: "b" },
        { place: 2, id: "c" },
      ]);
      expect(await batches.children("a", 2, 10)).toEqual([{ place: 2, id: "c" }]);
      expect(await batches.unconfirmed("a")).toEqual([]);
      await batches.seal("b");
      expect(await events()).toEqual(["b complete", "b success"]);
      expect(await batches.begin(newBatch("d", { parentId: "none" }))).toBe(false);
      expect(await batches.read(["d"])).toEqual([undefined]);
    });

    test("what a member reserved and did not publish before it ended is withdrawn", async () => {
      await batches.begin(newBatch("a"));
      await add("a", 1);
      await batches.seal("a");
      await add("a", 2, "0", 0);
      await batches.reserve("a", { adder: "0", sequence: 1, count: 3 });
      expect((await counts("a"))[0]).toBe(6);
      await batches.report("a", ended("succeeded", 0));
      expect(await counts("a")).toEqual([3, 1, 0, 0]);
      expect(await batches.unconfirmed("a")).toEqual([]);
      await batches.report("a", ended("succeeded", 3)); // it was published after all
      expect(await counts("a")).toEqual([3, 1, 0, 0]);
      await batches.report("a", ended("succeeded", 1, 2));
      expect(await events()).toEqual(["a complete", "a success"]);
    });

    test("due callbacks are given when they are old enough, and not once they are done", async () => {
      await batches.begin(newBatch("a"));
      await batches.seal("a");
      expect(await batches.due({ limit: 10, minAgeMs: 600_000 })).toEqual([]);
      expect(await batches.due({ limit: 1, minAgeMs: 0 })).toHaveLength(1);
      await batches.done({ id: "a", event: "complete" });
      expect(await batches.due({ limit: 10, minAgeMs: 0 })).toEqual([{ id: "a", event: "success" }]);
    });

    test("sealed batches that wait are quiet after a while, for one caller at a time", async () => {
      for (const id of ["open", "waits", "done"]) {
        await batches.begin(newBatch(id));
        await add(id, 1);
      }
      await batches.seal("waits");
      await batches.seal("done");
      await batches.report("done", ended("failed", 0));
      expect(await batches.quiet({ limit: 10, minAgeMs: 600_000 })).toEqual([]);
      expect(await batches.quiet({ limit: 10, minAgeMs: 0 })).toEqual(["waits"]);
      expect(await batches.quiet({ limit: 10, minAgeMs: 600_000 })).toEqual([]);
    });

    test("a forgotten batch is gone with all that was kept of it", async () => {
      await batches.begin(newBatch("a"));
      await add("a", 1);
      await batches.seal("a");
      await batches.report("a", ended("failed", 0));
      await batches.forget("a");
      expect(await batches.read(["a"])).toEqual([undefined]);
      expect(await events()).toEqual([]);
      expect(await batches.report("a", ended("succeeded", 0))).toBe(false);
    });

    test("a batch expires when nothing has happened to it for its time", async () => {
      if (stand.expires === false) return;
      await batches.begin(newBatch("a", { expiresMs: 1000 }));
      await batches.begin(newBatch("b"));
      await eventually("a has expired", async () => (await batches.read(["a"]))[0] === undefined);
      expect((await batches.read(["b"]))[0]).toBeDefined();
      expect(await batches.reserve("a", { adder: "-x", sequence: 0, count: 1 })).toBeUndefined();
    });

    test("members that report in any order, often, from several sides, are counted right", async () => {
      await batches.begin(newBatch("a"));
      const other = (await stand.open()).batches as Batches;
      const size = 1500;
      await add("a", size);
      await batches.seal("a");
      const all = Array.from({ length: size }, (_, place) => place);
      const bad = all.filter((place) => place % 10 === 0);
      await Promise.all([
        batches.report("a", ended("failed", ...bad)),
        other.report("a", ended("succeeded", ...all.filter((place) => place % 10 !== 0))),
        batches.report("a", ended("succeeded", ...all.filter((place) => place % 10 === 3))),
        other.report("a", ended("failed", ...bad)),
      ]);
      expect(await counts("a")).toEqual([size, size - bad.length, bad.length, 0]);
      expect(await events()).toEqual(["a complete", "a death"]);
    });
  });
}
