/** Members of a workflow that put others in their place, or beside them, on either side. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chain, chord, group, type Lovage, type WholeSignature } from "lovage";
import { python } from "../support/python.ts";
import { type MixedWorkers, mixedWorkers } from "./mixed-workers.ts";

describe.skipIf(python === undefined)("replace and add_to_chord across languages", () => {
  let mixed: MixedWorkers;
  let app: Lovage;
  const seen: unknown[] = [];

  beforeAll(async () => {
    mixed = await mixedWorkers(
      (own) => {
        own.task("node.sum", (list: readonly number[]) => list.flat().reduce((sum, each) => sum + each, 0));
        own.task("node.note", (what: unknown) => void seen.push(what));
        own.task({
          name: "node.replace",
          run: (ctx, value: number, kind: keyof ReturnType<typeof replacements>, lang: string) =>
            ctx.replace(replacements(value, lang)[kind]()),
        });
        own.task({
          name: "node.extend",
          async run(ctx, value: number, lang: string) {
            await ctx.addToChord(call<number>(`${lang}.add`, value, 10));
            return value;
          },
        });
      },
      ["node", "celery"],
    );
    ({ app } = mixed);
  }, 60_000);

  afterAll(async () => await mixed?.[Symbol.asyncDispose]());

  function call<Out>(name: string, ...args: unknown[]) {
    return app.remote<unknown[], Out>(name, { queue: name.split(".")[0] as string }).s(...args);
  }

  function replacements(
    value: number,
    lang: string,
  ): Record<"task" | "chain" | "group" | "chord" | "again" | "fail", () => WholeSignature> {
    const add = (...args: unknown[]) => call<number>(`${lang}.add`, ...args);
    return {
      task: () => add(value, 1),
      chain: () => chain(add(value, 1), add(10)),
      group: () => group([add(value, 1), add(value, 2)]),
      chord: () => chord([add(value, 1), add(value, 2)], call<number>(`${lang}.sum`)),
      again: () => call(`${lang}.replace`, value, "task", lang),
      fail: () => chain(call<number>(`${lang}.fail`, "boom"), add(1)),
    };
  }

  const get = { timeout: "30s" } as const;
  const sides = [["node", "python"], ["python", "node"], ["node", "node"]] as const; // prettier-ignore

  test.each(sides)("a member on %s is replaced by tasks on %s", async (where, by) => {
    const replaced = (value: number, kind: string) => call<number>(`${where}.replace`, value, kind, by);
    const expected = { task: 2, chain: 12, chord: 5, again: 2 };
    const values = await Promise.all(Object.keys(expected).map(async (kind) => await (await replaced(1, kind).delay()).get(get)));
    expect(values).toEqual(Object.values(expected));
    expect(await (await call<number[]>(`${where}.replace`, 1, "group", by).delay()).get(get)).toEqual([2, 3]);

    const line = await chain(
      call<number>("python.add", 1, 1),
      call<number>(`${where}.replace`, "chain", by),
      call<number>("node.add", 100),
    ).delay();
    expect([await line.get(get), await line.parent?.get(get)]).toEqual([113, 13]);

    const members = Object.keys(expected).map((kind) => replaced(1, kind));
    const other = where === "node" ? "python" : "node";
    expect(await (await chord(members, call<number>(`${other}.sum`)).delay()).get(get)).toBe(2 + 12 + 5 + 2);
  });

  test.each(sides)("error callbacks and chord of a member on %s that is replaced on %s by what fails", async (where, by) => {
    seen.length = 0;
    const member = call<number>(`${where}.replace`, 1, "fail", by).onError(call(`node.note`)).freeze();
    const result = await chord([member.signature, call<number>("python.add", 1, 1)], call<number>("node.sum")).delay();
    await expect(result.get(get)).rejects.toThrow(new RegExp(`Dependency .* raised ValueError`));
    await expect(member.result.get(get)).rejects.toThrow("boom");
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(seen).toHaveLength(1);
  });

  test.each(sides)("a member on %s adds one on %s", async (where, by) => {
    const header = [call<number>(`${where}.extend`, 1, by), call<number>("python.add", 1, 1), call<number>("node.add", 1, 1)];
    for (const body of ["node.sum", "python.sum"])
      expect(await (await chord(header, call<number>(body)).delay()).get(get)).toBe(1 + 2 + 2 + 11);
  });
});
