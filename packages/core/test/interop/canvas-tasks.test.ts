/** Messages that name Celery's own workflow tasks: ours answers as a Python worker does. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Lovage } from "lovage";
import { python, type PythonPeer } from "../support/python.ts";
import { type MixedWorkers, mixedWorkers } from "./mixed-workers.ts";

describe.skipIf(python === undefined)("Celery's own tasks", () => {
  let mixed: MixedWorkers;
  let app: Lovage;
  let peer: PythonPeer;
  const calls: unknown[] = [];

  beforeAll(async () => {
    mixed = await mixedWorkers((own) => {
      own.task("node.sum", (list: readonly number[]) => list.flat().reduce((sum, each) => sum + each, 0));
      own.task("node.note", (what: unknown) => void calls.push(what));
    });
    ({ app, peer } = mixed);
  }, 60_000);

  afterAll(async () => await mixed?.[Symbol.asyncDispose]());

  const sig = (task: string, args: unknown[], options: object = {}) => ({
    task,
    args,
    kwargs: {},
    options: { queue: task.split(".")[0], ...options },
    subtask_type: null,
    immutable: false,
  });
  const get = { timeout: "30s" } as const;
  /** Ids apart. */
  const shape = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(shape) : typeof value === "string" && /^[0-9a-f-]{36}$/.test(value) ? "id" : value;
  const deepest = (value: unknown): string[] => (Array.isArray(value) ? value.flatMap(deepest) : typeof value === "string" ? [value] : []);

  const chunksOf = (lang: string) => ({ task: sig(`${lang}.add`, []), it: [[1, 1], [2, 2], [3, 3]], n: 2 }); // prettier-ignore

  test("celery.chunks sends its parts and returns their group, in both", async () => {
    const answers: unknown[] = [];
    for (const queue of ["python", "node"]) {
      const { task, it, n } = chunksOf(queue);
      const sent = await app.sendTask("celery.chunks", [], { task, it, n }, { queue });
      answers.push(await peer.get(sent.id));
    }
    const [theirs, ours] = answers as { state: string; value: unknown }[];
    expect(shape(ours?.value)).toEqual(shape(theirs?.value));
    expect(ours?.state).toBe(theirs?.state);
  });

  test("celery.group sends the members under their ids", async () => {
    for (const lang of ["python", "node"]) {
      const ids = [crypto.randomUUID(), crypto.randomUUID()];
      const gid = crypto.randomUUID();
      const tasks = ids.map((id, i) => sig(`${lang}.add`, [i], { task_id: id }));
      const result = [[gid, null], ids.map((id) => [[id, null], null])];
      const sent = await app.sendTask("celery.group", [tasks, result, gid, [10]], {}, { queue: lang });
      expect(await peer.get(sent.id)).toMatchObject({ state: "SUCCESS", value: result });
      expect(await Promise.all(ids.map((id) => app.result(id).get(get)))).toEqual([10, 11]);
    }
  });

  test("celery.chord runs the chord and returns its body's result", async () => {
    const shapes: unknown[] = [];
    for (const lang of ["python", "node"]) {
      const header = [sig(`${lang}.add`, [1]), sig(`${lang}.add`, [2])];
      const sent = await app.sendTask("celery.chord", [header, sig(`${lang}.sum`, []), [10]], {}, { queue: lang });
      const { value } = await peer.get(sent.id);
      shapes.push(shape(value));
      expect(await app.result(deepest(value)[0] as string).get(get)).toBe(23);
    }
    expect(shapes[1]).toEqual(shapes[0]);
  });

  test("celery.chain is no task in either", async () => {
    const [theirs, ours] = await Promise.all(
      ["python", "node"].map(async (queue) => await peer.get((await app.sendTask("celery.chain", [], {}, { queue })).id)),
    );
    expect(ours?.error).toEqual(theirs?.error);
    expect(ours?.error?.type).toBe("NotImplementedError");
  });

  test.each([["python"], ["node"]])("celery.chord_unlock on %s waits for the header and calls the body under its id", async (lang) => {
    const [a, b, bodyId] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
    const result = [a, b].map((id) => [[id, null], null]);
    const body = sig("node.sum", [], { task_id: bodyId });
    await app.sendTask("celery.chord_unlock", [crypto.randomUUID(), body], { interval: 0.1, result }, { queue: lang });
    await app.sendTask("node.add", [1, 1], {}, { queue: "node", taskId: a });
    await app.sendTask("python.add", [2, 2], {}, { queue: "python", taskId: b, countdown: 1 });
    expect(await app.result(bodyId).get(get)).toBe(6);
  });

  test.each([["python"], ["node"]])("celery.chord_unlock on %s fails the body when a member has failed", async (lang) => {
    const [a, b, bodyId] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
    const result = [a, b].map((id) => [[id, null], null]);
    calls.length = 0;
    const body = sig("node.sum", [], { task_id: bodyId, link_error: [sig("node.note", [])] });
    await app.sendTask("node.add", [1, 1], {}, { queue: "node", taskId: a });
    await app.sendTask("python.fail", ["boom"], {}, { queue: "python", taskId: b });
    await app.sendTask("celery.chord_unlock", [crypto.randomUUID(), body], { interval: 0.1, result }, { queue: lang });
    const expected = lang === "node" ? `Dependency ${b} raised ValueError('boom', 42)` : "ValueError('boom', 42)"; // theirs stores the bare error here
    await expect(app.result(bodyId).get(get)).rejects.toThrow(expected);
    await expect.poll(() => calls, { timeout: 20_000 }).toEqual([bodyId]);
  });
});
