/**
 * Random workflows of depth up to 4, each begun by Python and by Lovage, on Python's workers, on Lovage's, and on both at random: the
 * same results, the same states. `LOVAGE_SOAK=1` grows many more; `LOVAGE_SEED` names the first.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chain, chord, group, type AnyPart, type Lovage } from "lovage";
import { Chance } from "../simulation/chance.ts";
import { isCeleryNew, python, type PythonPeer } from "../support/python.ts";
import { type MixedWorkers, mixedWorkers } from "./mixed-workers.ts";
import { expected, Grower, labelsOf, type Tree, type Where, wireOf, type WireTree } from "./random-trees.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const TREES = isSoak ? 150 : 10;
const SEED = Number(process.env.LOVAGE_SEED ?? 1);
const get = { timeout: "60s" } as const;

/** Celery writes the rest of a workflow into every message: with more tasks its messages grow to gigabytes. */
const TASKS_MAX = 40;
const TEXT_MAX = 20_000;

function grown(chance: Chance): Tree {
  for (;;) {
    const tree = new Grower(chance).tree(4);
    if (labelsOf(tree).length <= TASKS_MAX && expected(tree).length <= TEXT_MAX) return tree;
  }
}

type Tuple = readonly [readonly [string, Tuple | null], readonly Tuple[] | null];

describe.skipIf(python === undefined || !isCeleryNew)("random workflows, four ways", () => {
  let mixed: MixedWorkers;
  let app: Lovage;
  let peer: PythonPeer;

  beforeAll(async () => {
    mixed = await mixedWorkers((own) => {
      const text = (value: unknown): string => (Array.isArray(value) ? `[${value.map(text).join(",")}]` : String(value));
      own.task("node.tag", (value: unknown, label: string) => `${label}(${text(value)})`);
      own.task("node.tag_fail", (_: unknown, label: string) => {
        throw new RangeError(label); // Python's ValueError
      });
    });
    ({ app, peer } = mixed);
  }, 60_000);

  afterAll(async () => await mixed?.[Symbol.asyncDispose]());

  function composed(tree: WireTree): AnyPart {
    if ("chain" in tree) return (chain as unknown as (...steps: AnyPart[]) => AnyPart)(...tree.chain.map(composed));
    if ("group" in tree) return group(tree.group.map(composed));
    if ("chord" in tree)
      return (chord as unknown as (header: AnyPart[], body: AnyPart) => AnyPart)(tree.chord[0].map(composed), composed(tree.chord[1]));
    return app.signature(tree.task, tree.args, {}, { queue: tree.queue });
  }

  async function begin(tree: WireTree, producer: "node" | "python"): Promise<Tuple> {
    if (producer === "python") return (await peer.canvasTuple(tree)) as Tuple;
    const result = await (composed(tree) as unknown as { delay(): Promise<{ asTuple(): Tuple }> }).delay();
    return result.asTuple();
  }

  function idsOf([[id, parent], children]: Tuple): readonly string[] {
    return [...(parent === null ? [] : idsOf(parent)), ...(children === null ? [id] : children.flatMap(idsOf))];
  }

  const last = ([[id]]: Tuple): string => id;

  /** Every way, with where its tasks run. */
  function* ways(tree: Tree, chance: Chance): Generator<readonly [string, "node" | "python", Where]> {
    for (const producer of ["node", "python"] as const) {
      for (const home of ["node", "python"] as const) yield [`${producer} to ${home}`, producer, () => home];
      const homes = new Map(labelsOf(tree).map((label) => [label, chance.pick(["node", "python"] as const)]));
      yield [`${producer} to both`, producer, (label) => homes.get(label) ?? "node"];
    }
  }

  test(`${TREES} trees come to the same, whoever begins and runs them`, { timeout: isSoak ? 1_800_000 : 120_000 }, async () => {
    for (let seed = SEED; seed < SEED + TREES; seed++) {
      const chance = new Chance(seed);
      const tree = grown(chance);
      const value = expected(tree);
      const outcomes = await Promise.all(
        [...ways(tree, chance)].map(async ([name, producer, where]) => {
          const tuple = await begin(wireOf(tree, where), producer);
          const outcome = await app.result(last(tuple)).get(get).catch(String);
          const states = await Promise.all(
            idsOf(tuple).map((id) =>
              app
                .result(id)
                .get(get)
                .then(() => "SUCCESS", String),
            ),
          );
          const results = await Promise.all(idsOf(tuple).map((id) => app.result(id).result()));
          return { name, outcome, states: [...new Set(states)], results: results.map(String).toSorted() };
        }),
      );
      for (const { name, outcome, states } of outcomes) {
        expect([name, outcome], `seed ${seed}: ${JSON.stringify(tree)}`).toEqual([name, value]);
        expect([name, ...states], `seed ${seed}`).toEqual([name, "SUCCESS"]);
      }
      // What each side hands to its caller holds the same results wherever they run. Celery's passes over the first steps of a chain that is
      // a body, and ours does not: all that is in theirs is in ours.
      const [ours = [], theirs = []] = (["node", "python"] as const).map((producer) => {
        const [first, ...others] = outcomes.filter(({ name }) => name.startsWith(producer)).map(({ results }) => results);
        for (const results of others) expect(results, `seed ${seed}, begun by ${producer}`).toEqual(first);
        return first;
      });
      expect(ours, `seed ${seed}`).toEqual(expect.arrayContaining([...theirs]));
    }
  });

  test("a task that fails fails what depends on it, in the same words", { timeout: isSoak ? 900_000 : 120_000 }, async () => {
    for (let seed = SEED; seed < SEED + Math.ceil(TREES / 3); seed++) {
      const chance = new Chance(1000 + seed);
      const grower = new Grower(chance);
      const bad = grower.task(true);
      const trees: readonly Tree[] = [
        { kind: "chain", steps: [bad, grower.task(), grower.task()] },
        { kind: "chain", steps: [grower.task(), bad, grower.task()] },
        { kind: "chord", header: [grower.task(), bad, grower.tree(2)], body: grower.task() },
        { kind: "chord", header: [grower.task(), { kind: "chain", steps: [grower.task(), bad] }], body: grower.task() },
      ];
      for (const tree of trees) {
        const outcomes = await Promise.all(
          [...ways(tree, chance)].map(async ([name, producer, where]) => {
            const id = last(await begin(wireOf(tree, where), producer));
            const error: unknown = await app
              .result(id)
              .get(get)
              .catch((thrown: unknown) => thrown);
            return { name, state: await app.result(id).state(), error: String(error).replaceAll(/[0-9a-f-]{36}/g, "<id>") };
          }),
        );
        for (const { name, state, error } of outcomes) {
          expect([name, state]).toEqual([name, "FAILURE"]);
          expect([name, error], JSON.stringify(tree)).toEqual([name, outcomes[0]?.error]);
        }
      }
    }
  });
});
