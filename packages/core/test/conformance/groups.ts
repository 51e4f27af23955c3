/** What every backend does with groups, and every broker that settles with it: parts, what is due, and how it is ended. */
import { describe, expect, test } from "vitest";
import type { Broker, Delivery, Settlement } from "../../src/brokers/broker.ts";
import type { GroupPart } from "../../src/results/groups.ts";
import type { ResultBackend, ResultText } from "../../src/results/result-backend.ts";
import { eventually } from "../support/eventually.ts";
import { idOf, take, toQueue } from "../support/broker-hands.ts";

const stateOf = (document: ResultText | undefined): string | undefined =>
  document === undefined ? undefined : (JSON.parse(String(document)) as { status: string }).status;

const BODY = '{"task": "tests.body"}';

function part(taskId: string, state = "SUCCESS", index?: number, result: unknown = 1, groupId = "g"): GroupPart {
  const document = `{"status": "${state}", "result": ${JSON.stringify(result)}, "task_id": "${taskId}"}`;
  return {
    groupId,
    taskId,
    index,
    part: `[1, "${taskId}", "${state}", ${JSON.stringify(result)}]`,
    result: { taskId, state, document, expiresMs: 60_000 },
    expiresMs: 60_000,
    rootId: "root",
    priority: 4,
    body: BODY,
  };
}
const size = (count: number, groupId = "g") => ({ groupId, size: count, expiresMs: 60_000 });
const idsOf = (parts: readonly ResultText[]): unknown[] => parts.map((text) => (JSON.parse(String(text)) as unknown[])[1]);

export function groupConformance(given: () => { readonly backend: ResultBackend; other(): Promise<ResultBackend> }): void {
  describe("groups", () => {
    test("the last part completes it, once, and it is due until it is ended", async () => {
      const { groups } = given().backend;
      await groups.begin([size(3)]);
      expect(await groups.due("g")).toBeUndefined();
      expect(await groups.addParts([part("b", "SUCCESS", 1), part("a", "SUCCESS", 0)])).toEqual([false, false]);
      expect(await groups.addParts([part("c", "FAILURE", 2)])).toEqual([true]);
      expect(await groups.addParts([part("a", "SUCCESS", 0), part("c", "FAILURE", 2)])).toEqual([false, false]);
      const { parts, expected } = await groups.parts("g");
      expect(expected).toBe(3);
      expect(idsOf(parts)).toEqual(["a", "b", "c"]);
      expect((await given().backend.fetch(["a", "b", "c"])).map(stateOf)).toEqual(["SUCCESS", "SUCCESS", "FAILURE"]);
      expect(await (await given().other()).groups.due("g")).toEqual({ memberId: "c", rootId: "root", priority: 4, body: BODY });
      expect(await groups.end(["g", "none"])).toEqual([true, false]);
      expect(await groups.due("g")).toBeUndefined();
      expect(await groups.parts("g")).toEqual({ parts: [], expected: 0 });
      expect(await groups.addParts([part("a")])).toEqual([false]);
      expect(await groups.end(["g"])).toEqual([false]);
    });

    test("a look tells how many are there, pages of the parts with their places, and the body", async () => {
      const { groups } = given().backend;
      expect(await groups.look("g", 0, 10)).toBeUndefined();
      await groups.addParts([part("b", "SUCCESS", 5)]);
      expect(await groups.look("g", 0, 10)).toMatchObject({ expected: undefined, counted: 1, body: BODY });
      await groups.begin([size(4)]);
      await groups.extend("g", 1, 60_000);
      await groups.addParts([part("a", "FAILURE", 2), part("z")]);
      const look = await groups.look("g", 0, 10);
      expect(look).toMatchObject({ expected: 5, counted: 3, body: BODY });
      expect(look?.parts.map(({ place, part: text }) => [place, (JSON.parse(String(text)) as unknown[])[1]])).toEqual([
        [2, "a"],
        [5, "b"],
        [undefined, "z"],
      ]);
      expect((await groups.look("g", 1, 1))?.parts.map(({ place }) => place)).toEqual([5]);
    });

    test("a member that reports again takes its own place, and its first success stays", async () => {
      const { groups } = given().backend;
      await groups.begin([size(2)]);
      await groups.addParts([part("a", "FAILURE", 0)]);
      expect(await groups.addParts([part("a", "SUCCESS", 0, 5)])).toEqual([false]);
      expect(await groups.addParts([part("a", "SUCCESS", 0, 6), part("a", "FAILURE", 0)])).toEqual([false, false]);
      expect((await groups.parts("g")).parts.map(String)).toEqual(['[1, "a", "SUCCESS", 5]']);
    });

    test("members whose ids begin alike, in places of the same number, are different members", async () => {
      const { groups } = given().backend;
      await groups.begin([size(4)]);
      await groups.addParts([part("job-10", "SUCCESS", 0), part("x.job-1", "FAILURE", 0)]);
      expect(await groups.addParts([part("job-1", "SUCCESS", 0), part("b-1", "SUCCESS", 0)])).toEqual([false, true]);
      expect(new Set(idsOf((await groups.parts("g")).parts))).toEqual(new Set(["b-1", "job-1", "job-10", "x.job-1"]));
    });

    test("parts may come before the size, members without a place stand at the end, and more may be added", async () => {
      const { groups } = given().backend;
      expect(await groups.addParts([part("z"), part("a", "SUCCESS", 0)])).toEqual([false, false]);
      await groups.begin([size(2)]);
      await groups.extend("g", 1, 60_000);
      expect(await groups.addParts([part("b", "SUCCESS", 1)])).toEqual([true]);
      const { parts, expected } = await groups.parts("g");
      expect(expected).toBe(3);
      expect(idsOf(parts)).toEqual(["a", "b", "z"]);
    });

    test("a member that cannot tell the body leaves it to the others", async () => {
      const { groups } = given().backend;
      await groups.begin([size(2)]);
      await groups.addParts([part("a", "SUCCESS", 0)]);
      expect(await groups.addParts([{ ...part("b", "FAILURE", 1), body: "" }])).toEqual([true]);
      expect(await groups.due("g")).toMatchObject({ memberId: "b", body: BODY });
    });

    test("a group that turns out to be incomplete is open again, and the next part completes it", async () => {
      const { groups } = given().backend;
      await groups.begin([size(1)]);
      expect(await groups.addParts([part("a")])).toEqual([true]);
      expect(await groups.reopen("g", [])).toBe(false); // it is complete
      await groups.extend("g", 1, 60_000);
      expect(await groups.reopen("g", [])).toBe(true);
      expect(await groups.due("g")).toBeUndefined();
      expect(await groups.addParts([part("b")])).toEqual([true]);
    });

    test("what was not ended in time is claimed by one, and by nobody else for a while", { timeout: 20_000 }, async () => {
      const { groups } = given().backend;
      await groups.begin([size(1), size(2, "open")]);
      await groups.addParts([part("a"), part("b", "SUCCESS", 0, 1, "open")]);
      expect(await groups.claimDue(10)).toEqual([]); // whoever completed it is at it
      await eventually("the claim", async () => ((await groups.claimDue(10)).includes("g") ? true : undefined));
      expect(await (await given().other()).groups.claimDue(10)).toEqual([]);
      expect(await groups.due("g")).toBeDefined();
    });

    test("a group that is quiet is looked at, its members are named, and it can be given up", async () => {
      const { groups } = given().backend;
      await groups.begin([{ ...size(3), members: ["a", "b", "c"], body: BODY }, size(1, "done")]);
      await groups.addParts([part("b", "SUCCESS", 1), part("x", "SUCCESS", 0, 1, "done")]);
      expect(await groups.quiet(10)).toEqual([]);
      const quiet = await eventually("the quiet one", async () => (await groups.quiet(10, 300))[0]);
      expect(quiet).toMatchObject({
        groupId: "g",
        counted: 1,
        expected: 3,
        members: ["a", "b", "c"],
        body: BODY,
        rootId: "root",
        priority: 4,
      });
      expect(quiet.quietMs).toBeGreaterThanOrEqual(250);
      expect(await (await given().other()).groups.quiet(10)).toEqual([]); // it was looked at
      expect(await groups.giveUp("g", "they are gone")).toBe(true);
      expect(await groups.giveUp("g", "again")).toBe(false);
      expect(await groups.giveUp("none", "never was")).toBe(false);
      expect(await groups.due("g")).toEqual({ memberId: "", rootId: "root", priority: 4, body: BODY, lost: "they are gone" });
      expect(await groups.end(["g"])).toEqual([true]);
    });

    test("a saved group is found by others until it is forgotten", async () => {
      const { groups } = given().backend;
      const other = await given().other();
      await groups.save("g", '{"result": []}', 60_000);
      expect(await other.groups.restore("g")).toBe('{"result": []}');
      await groups.forget(["g"]);
      expect(await other.groups.restore("g")).toBeUndefined();
    });
  });
}

/** For brokers with which a backend on the same store can settle. */
export function groupSettlementConformance(
  given: () => { readonly broker: Broker; openBackend(): Promise<ResultBackend>; open(): Promise<Broker> },
): void {
  describe("groups, settled with", () => {
    const published = async (...ids: readonly string[]): Promise<Delivery[]> => {
      const { broker } = given();
      await broker.publish(ids.map((id) => toQueue("q", { id })));
      return await take(broker, ["q"], ids.length);
    };
    const ackWith = (delivery: Delivery | undefined, ...parts: readonly GroupPart[]): Settlement => ({
      delivery: delivery as Delivery,
      end: { kind: "ack" },
      parts,
    });

    test("a part is registered in the step that ends its loan, and tells who completed the group", async () => {
      const { broker } = given();
      const backend = await given().openBackend();
      await backend.groups.begin([size(3)]);
      const [a, b, c, d] = await published("a", "b", "c", "d");
      const completed: string[] = [];
      const options = { backend, completed: ({ delivery }: Settlement) => void completed.push(idOf(delivery)) };
      const plain: Settlement = { delivery: d as Delivery, end: { kind: "ack" } };
      expect(await broker.settle([ackWith(a, part("a", "SUCCESS", 0)), plain, ackWith(b, part("b", "SUCCESS", 1))], options)).toEqual([
        "settled",
        "settled",
        "settled",
      ]);
      expect(completed).toEqual([]);
      expect(await broker.settle([ackWith(c, part("c", "SUCCESS", 2))], options)).toEqual(["settled"]);
      expect(completed).toEqual(["c"]);
      expect((await backend.fetch(["a", "b", "c"])).map(stateOf)).toEqual(["SUCCESS", "SUCCESS", "SUCCESS"]);
      expect(await backend.groups.due("g")).toEqual({ memberId: "c", rootId: "root", priority: 4, body: BODY });
    });

    test("a worker that has lost its loan registers nothing", async () => {
      const { broker } = given();
      const backend = await given().openBackend();
      await backend.groups.begin([size(1)]);
      const [a] = await published("a");
      await broker.leases?.release("one");
      const [again] = await take(broker, ["q"], 1, { worker: "two" });
      expect(await broker.settle([ackWith(a, part("a", "FAILURE", 0))], { backend })).toEqual(["lost"]);
      expect((await backend.groups.parts("g")).parts).toEqual([]);
      expect(await backend.fetch(["a"])).toEqual([undefined]);
      expect(await broker.settle([ackWith(again, part("a", "SUCCESS", 0))], { backend })).toEqual(["settled"]);
      expect((await backend.groups.parts("g")).parts.map(String)).toEqual(['[1, "a", "SUCCESS", 1]']);
    });

    test("what is due is ended once, with all that follows from it, by whoever comes first", async () => {
      const { broker } = given();
      const other = await given().open();
      const backend = await given().openBackend();
      await backend.groups.begin([size(1), size(1, "around")]);
      await backend.groups.addParts([part("a")]);
      const end = {
        groupId: "g",
        home: "q",
        publish: [toQueue("q", { id: "body" })],
        results: [{ taskId: "r", state: "FAILURE", document: '{"status": "FAILURE"}', expiresMs: 60_000 }],
        parts: [part("end", "FAILURE", 0, 1, "around")],
      };
      const answers = await Promise.all([broker, other].map(async (each) => await each.groupEnds?.finish(end, { backend })));
      expect(answers).toContainEqual({ kind: "gone" });
      expect(answers).toContainEqual({ kind: "ended", completed: ["around"] });
      expect((await broker.depth(["q"]))[0]?.ready).toBe(1);
      expect((await backend.fetch(["r", "end"])).map(stateOf)).toEqual(["FAILURE", "FAILURE"]);
      expect(await backend.groups.parts("g")).toEqual({ parts: [], expected: 0 });
      expect(await backend.groups.due("around")).toMatchObject({ memberId: "end" });
      expect((await take(broker, ["q"], 1)).map(idOf)).toEqual(["body"]);
    });
  });
}
