/** Workflows looked at and repaired, through a worker in memory. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chain, chord, group } from "../app/compose.ts";
import { WorkflowRepairError, WorkflowUnknownError } from "../app/errors.ts";
import { eachNode, type WorkflowNode } from "../app/workflow/node.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "./worker.ts";

let app: ReturnType<typeof memoryApp>;
let worker: Worker | undefined;
let broken: boolean;

beforeEach(() => {
  worker = undefined;
  broken = true;
  app = memoryApp();
});
afterEach(async () => {
  await worker?.stop();
  await app.close();
});

function tasks() {
  const add = app.task("add", (x: number, y: number) => x + y);
  const sum = app.task("sum", (list: readonly number[]) => list.reduce((all, each) => all + each, 0));
  const fragile = app.task({
    name: "fragile",
    deadLetter: { on: ["failed"] },
    run(_, x: number): number {
      if (broken) throw new RangeError("broken");
      return x;
    },
  });
  return { add, sum, fragile };
}

async function begin(): Promise<void> {
  worker = new Worker(app, { concurrency: 4 });
  await worker.start();
}

async function lines(id: string): Promise<string[]> {
  const { root } = await app.workflow(id).explain();
  return [...eachNode(root)].map(({ kind, role, task, state, where }) =>
    [role, task ?? kind, state, where?.kind].filter(Boolean).join(" "),
  );
}
const get = { timeout: "10s" } as const;
const find = (root: WorkflowNode, id: string): WorkflowNode | undefined => [...eachNode(root)].find((node) => node.id === id);

describe("what there is of", () => {
  test("a chain that has not begun: its first step waits in its queue, the others for it", async () => {
    const { add } = tasks();
    const result = await chain(add.s(1, 1), add.s(2), add.s(3)).delay();
    const expected = ["root add PENDING queue", "next add WAITING", "next add WAITING"];
    expect(await lines(result.id)).toEqual(expected); // by its last task
    expect(await lines(result.parent?.parent?.id ?? "")).toEqual(expected);
  });

  test("a chain that has ended: each step below the one before it, from whichever is asked for", async () => {
    const { add } = tasks();
    await begin();
    const result = await chain(add.s(1, 1), add.s(2), add.s(3)).delay();
    await result.get(get);
    const { root } = await app.workflow(result.id).explain();
    expect([...eachNode(root)].map(({ state }) => state)).toEqual(["SUCCESS", "SUCCESS", "SUCCESS"]);
    expect(root.parts[0]?.parts[0]?.id).toBe(result.id);
    expect(root.doneAt).toBeInstanceOf(Date);
  });

  test("a chord of which members are missing: its parts, what waits, what is dead, and its body", async () => {
    const { add, sum, fragile } = tasks();
    await begin();
    const result = await chord([add.s(1, 1), fragile.s(2)], sum.s()).delay();
    await expect(result.get(get)).rejects.toThrow(/broken/);
    const { root, problems } = await app.workflow(result.id).explain();
    expect(root.state).toBe("FAILURE");
    expect(problems.map(({ problem }) => problem)).toEqual(["is a dead letter of celery (failed)"]);
    await worker?.stop();
    const later = await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay();
    expect(await lines((later.parent as { id: string }).id)).toEqual([
      "root group waits",
      "member add PENDING queue",
      "member add PENDING queue",
      "body sum WAITING",
    ]);
  });

  test("a batch: those that have not succeeded, and its callbacks", async () => {
    const { add, sum, fragile } = tasks();
    const batch = await app.batch({ description: "May", onSuccess: sum.si([1]) as never }, (one) =>
      one.add([add.s(1, 1), fragile.s(2)] as never),
    );
    await begin();
    await batch.whenComplete().get(get);
    const view = await app.workflow(batch.id).explain();
    expect(view.root).toMatchObject({ kind: "batch", state: "complete", description: "May", counts: { total: 2, succeeded: 1, dead: 1 } });
    expect(await lines(batch.id)).toEqual([
      "root batch complete",
      "member task SUCCESS",
      "member fragile FAILURE dead",
      "onSuccess sum WAITING",
    ]);
    expect(view.problems).toHaveLength(1);
    expect(view.problems[0]?.remedies[0]).toBe(`retry ${batch.id}.1`);
  });

  test("nothing", async () => {
    tasks();
    const asked = app.workflow("none").explain();
    await expect(asked).rejects.toThrow(WorkflowUnknownError);
    await expect(asked).rejects.toThrow(/nothing is known of none/);
  });

  test("a large group is shown in pages", async () => {
    const { add, sum } = tasks();
    const result = await chord(
      Array.from({ length: 30 }, (_, i) => add.s(i, i)),
      sum.s(),
    ).delay();
    const { root } = await app.workflow((result.parent as { id: string }).id).explain({ limit: 10 });
    expect(root.parts.filter(({ role }) => role === "member")).toHaveLength(10);
    expect(root.hidden).toBe(20);
    expect(root.counts).toMatchObject({ total: 30, pending: 30 });
  });
});

describe("repair", () => {
  test("a dead letter is put back, and its batch goes on", async () => {
    const { fragile } = tasks();
    const batch = await app.batch({}, (one) => one.add([fragile.s(1), fragile.s(2)]));
    await begin();
    await batch.whenComplete().get(get);
    broken = false;
    const { ids } = await app.workflow(batch.id).retry();
    expect(ids.toSorted()).toEqual([`${batch.id}.0`, `${batch.id}.1`]);
    await expect.poll(async () => (await batch.info())?.state, { timeout: 10_000 }).toBe("succeeded");
    await expect(app.workflow(batch.id).retry()).rejects.toThrow(WorkflowRepairError);
  });

  test("a dead step of a chain is completed by hand, and the chain goes on with the value", async () => {
    const { add, fragile } = tasks();
    await begin();
    const result = await chain(fragile.s(1), add.s(10)).delay();
    const first = result.parent as { id: string };
    await expect(result.get(get)).rejects.toThrow(/broken/);
    await app.workflow(first.id).complete(32);
    await expect.poll(async () => await app.result(result.id).state(), { timeout: 10_000 }).toBe("SUCCESS");
    expect(await app.result(result.id).get(get)).toBe(42);
    const broker = await app.broker();
    expect(await broker.deadLetters?.get("celery", first.id)).toBeUndefined();
    await expect(app.workflow(first.id).complete(1)).rejects.toThrow(/a success stays/);
  });

  test("a member that is gone is completed by its place, and the body is called with it", async () => {
    const { add, sum } = tasks();
    const result = await chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)], sum.s()).delay();
    const header = result.parent as { id: string };
    const broker = await app.broker();
    await expect(app.workflow(header.id).fail("why not", { place: 7 })).rejects.toThrow(/no place 7/);
    await expect(app.workflow(header.id).complete(100, { place: 0 })).rejects.toThrow(/still to be run/);
    await begin();
    await result.get(get);
    const second = await chord([add.s(1, 1), app.signature<number>("add", [2, 2], {}, { queue: "elsewhere" })], sum.s()).delay();
    const { id } = second.parent as { id: string };
    await expect.poll(async () => (await app.workflow(id).explain()).root.counts?.succeeded, { timeout: 10_000 }).toBe(1);
    await broker.purge("elsewhere");
    const { problems } = await app.workflow(id).explain();
    expect(problems.map((problem) => problem.id)).toEqual([`${id} --place 1`]);
    await expect(app.workflow(id).complete(100, { place: 0 })).rejects.toThrow(/has reported/);
    await app.workflow(id).complete(100, { place: 1 });
    expect(await second.get(get)).toBe(102);
  });

  test("the body of a chord that waits fails with a reason, and its errbacks are called", async () => {
    const { add, sum } = tasks();
    const told: unknown[] = [];
    const note = app.task("note", (id: string) => void told.push(id));
    const result = await chord([add.s(1, 1), add.s(2, 2)], sum.s().onError(note.s())).delay();
    const id = (result.parent as { id: string }).id;
    const broker = await app.broker();
    await app.workflow(id).fail("the shop is closed");
    expect((await broker.depth(["celery"]))[0]?.ready).toBe(3);
    await begin();
    await expect(result.get(get)).rejects.toThrow("the shop is closed");
    await expect.poll(() => told.length, { timeout: 10_000 }).toBe(1);
    expect(told).toEqual([result.id]);
  });

  test("the body of a chord is called with the results that have come", async () => {
    const { add, sum } = tasks();
    await begin();
    const broker = await app.broker();
    const held = app.task({ name: "held", queue: "elsewhere", run: (): number => 1 });
    const result = await chord([add.s(1, 1), add.s(2, 2), held.s()], sum.s()).delay();
    const id = (result.parent as { id: string }).id;
    await expect.poll(async () => (await app.workflow(id).explain()).root.counts?.succeeded, { timeout: 10_000 }).toBe(2);
    const { root } = await app.workflow(id).explain({ queues: ["celery", "elsewhere"] });
    expect([...eachNode(root)].find(({ task }) => task === "held")?.where).toEqual({ kind: "queue", queue: "elsewhere" });
    await app.workflow(id).completePartial();
    expect(await result.get(get)).toBe(6);
    expect((await broker.depth(["elsewhere"]))[0]?.ready).toBe(1);
  });

  test("what is still to run is left alone", async () => {
    const { add } = tasks();
    const result = await add.delay(1, 1);
    await expect(app.workflow(result.id).complete(3)).rejects.toThrow(/it waits in celery/);
    await expect(app.workflow(result.id).fail("no")).rejects.toThrow(/still to be run/);
  });

  test("a task that failed for good and is gone is completed by hand", async () => {
    const { add } = tasks();
    const fail = app.task("fail", (): number => {
      throw new Error("no");
    });
    await begin();
    const result = await group([add.s(1, 1), fail.s()]).delay();
    const failed = result.results[1] as { id: string };
    await expect(app.result(failed.id).get(get)).rejects.toThrow("no");
    await app.workflow(failed.id).complete("by hand");
    await expect.poll(async () => await app.result(failed.id).state(), { timeout: 10_000 }).toBe("SUCCESS");
    expect(find((await app.workflow(failed.id).explain()).root, failed.id)?.state).toBe("SUCCESS");
  });
});
