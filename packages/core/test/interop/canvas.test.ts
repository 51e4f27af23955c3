/** Workflows whose tasks run on Python and on Lovage workers in turn, begun from either side. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chain, chord, group, type Lovage } from "lovage";
import { python, type PythonPeer } from "../support/python.ts";
import { type MixedWorkers, mixedWorkers } from "./mixed-workers.ts";

describe.skipIf(python === undefined)("workflows across languages", () => {
  let mixed: MixedWorkers;
  let app: Lovage;
  let peer: PythonPeer;

  beforeAll(async () => {
    mixed = await mixedWorkers((own) => {
      own.task("node.sum", (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0));
    });
    ({ app, peer } = mixed);
  }, 60_000);

  afterAll(async () => await mixed?.[Symbol.asyncDispose]());

  const nodeAdd = () => app.remote<[number, number], number>("node.add", { queue: "node" });
  const pythonAdd = () => app.remote<[number, number], number>("python.add", { queue: "python" });
  const nodeSum = () => app.remote<[readonly number[]], number>("node.sum", { queue: "node" });
  const pythonSum = () => app.remote<[readonly number[]], number>("python.sum", { queue: "python" });
  const get = { timeout: "30s" } as const;

  test("a chain through both", async () => {
    const result = await chain(nodeAdd().s(1, 1), pythonAdd().s(2), nodeAdd().s(3), pythonAdd().s(4)).delay();
    expect(await result.get(get)).toBe(11);
    expect(await peer.get(result.id)).toEqual({ state: "SUCCESS", value: 11 });
  });

  test.each([["node"], ["python"]])("a chord over both, its body on %s", async (where) => {
    const body = where === "node" ? nodeSum() : pythonSum();
    const header = [
      nodeAdd().s(1, 1),
      pythonAdd().s(2, 2),
      chain(pythonAdd().s(1, 1), nodeAdd().s(1)),
      chain(nodeAdd().s(1, 1), pythonAdd().s(1)),
    ];
    expect(await (await chord(header, body.s()).delay()).get(get)).toBe(12);
  });

  test("a chord that a Python worker begins, and one that ours does", async () => {
    const header = () => group([nodeAdd().s(1), pythonAdd().s(2)]);
    expect(await (await chain(pythonAdd().s(1, 1), header(), nodeSum().s(), pythonAdd().s(1)).delay()).get(get)).toBe(8);
    expect(await (await chain(nodeAdd().s(1, 1), header(), pythonSum().s(), nodeAdd().s(1)).delay()).get(get)).toBe(8);
  });

  test("a failure on either side fails the chord", async () => {
    const fails = [
      app.remote<[string], number>("node.fail", { queue: "node" }),
      app.remote<[string], number>("python.fail", { queue: "python" }),
    ];
    for (const fail of fails) {
      const result = await chord([nodeAdd().s(1, 1), fail.s("boom"), pythonAdd().s(1, 1)], nodeSum().s()).delay();
      await expect(result.get(get)).rejects.toThrow(/raised ValueError\('boom'/);
    }
  });

  test("what Python composes", async () => {
    const node = (task: string, ...args: unknown[]) => ({ task, args, queue: "node" });
    const py = (task: string, ...args: unknown[]) => ({ task, args, queue: "python" });
    const trees = [
      { chain: [node("node.add", 1, 1), py("python.add", 2), node("node.add", 3)] },
      {
        chord: [
          [node("node.add", 1, 1), py("python.add", 2, 1), { chain: [node("node.add", 1, 0), node("node.add", 1)] }],
          node("node.sum"),
        ],
      },
      { chain: [node("node.add", 1, 1), { group: [node("node.add", 1), py("python.add", 0)] }, py("python.sum"), node("node.add", 2)] },
      {
        chord: [
          [{ chord: [[node("node.add", 1, 1), node("node.add", 1, 1)], node("node.sum")] }, py("python.add", 1, 2)],
          py("python.sum"),
        ],
      },
    ];
    for (const tree of trees) expect(await peer.get(await peer.canvas(tree))).toEqual({ state: "SUCCESS", value: 7 });
  });
});
