/** `lovage fairness` as a user types it, beside a worker of a fair queue on the embedded broker. */
import { expect, test } from "vitest";

import { eventually } from "../../support/eventually.ts";
import { Project } from "./project.ts";

const APP = `
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";

export const app = new Lovage("imports", { taskQueues: { imports: { fair: true } }, taskDefaultQueue: "imports", shutdownGrace: 0.1 });
export const load = app.task("imports.load", { fairKey: (tenant: string) => tenant }, async (tenant: string) => { await sleep(60_000); return tenant; });
`;

interface Shown {
  readonly unsorted: number;
  readonly defaults: { readonly weight: number; readonly limit: number | null };
  readonly keys: readonly {
    readonly key: string;
    readonly waiting: number;
    readonly running: number;
    readonly paused: { by: string; reason: string } | null;
  }[];
}

test("keys are listed, limited, paused and resumed while a worker runs", async () => {
  await using project = new Project({ "src/app.ts": APP });
  const lovage = async (...words: string[]) => await project.run(["-q", "-A", "src/app.ts", ...words]);
  const shown = async (): Promise<Shown> => JSON.parse((await lovage("fairness", "list", "imports", "--json")).stdout) as Shown;

  expect((await lovage("fairness", "list", "imports")).stdout).toBe("no key of imports has messages or settings\n");
  expect((await lovage("fairness", "set", "imports", "--limit", "1")).stdout).toBe(
    "keys of imports without settings of their own: weight 1, 1 at once\n",
  );
  expect((await lovage("fairness", "pause", "imports", "evil", "--reason", "abuse", "--by", "ann")).stdout).toMatch(
    /^evil of imports: weight 1, 1 at once, paused by ann since .*Z \(abuse\)\n$/,
  );
  for (const tenant of ["acme", "acme", "acme", "evil"]) await lovage("call", "imports.load", "-a", JSON.stringify([tenant]));
  await lovage("call", "imports.load", "-a", '["other"]', "--fair-key", "umbrella");
  expect((await shown()).unsorted).toBe(5);

  const worker = project.start(["-A", "src/app.ts", "worker", "-c", "10"]);
  await worker.says(/ ready\./);
  const states = await eventually("the first of each key to run", async () => {
    const { keys, unsorted } = await shown();
    return keys.filter(({ running }) => running === 1).length === 2 && unsorted === 0 ? keys : undefined;
  });
  expect(states.map(({ key, waiting, running }) => `${key} ${waiting} ${running}`).toSorted()).toEqual([
    "acme 2 1",
    "evil 1 0",
    "umbrella 0 1",
  ]);
  expect((await lovage("queues")).stdout).toMatch(/imports +3 /);

  await lovage("fairness", "set", "imports", "acme", "--limit", "3", "--weight", "2");
  await lovage("fairness", "resume", "imports", "evil");
  await eventually("all to run", async () => (await shown()).keys.reduce((sum, { running }) => sum + running, 0) === 5);
  const table = (await lovage("fairness", "list", "imports")).stdout.split("\n");
  expect(table[0]).toMatch(/^key +waiting +running +weight +limit +paused$/);
  expect(table[1]).toMatch(/^acme +0 +3 +2 +3$/);
  await worker.end();
  expect((await lovage("fairness", "release", "imports")).stdout).toMatch(/^\d+ messages? put back into imports\n$/);
});

test("what makes no sense is refused before anything is asked", async () => {
  await using project = new Project({ "src/app.ts": APP });
  const fails = async (...words: string[]): Promise<string> => {
    const { code, stderr } = await project.run(["-q", "-A", "src/app.ts", "fairness", ...words]);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await fails("set", "imports")).toContain("needs --weight, --limit");
  expect(await fails("set", "imports", "a", "--weight", "0")).toContain("whole number from 1 to 1000");
  expect(await fails("pause", "imports")).toContain("needs a key");
  expect(await fails("list", "imports", "acme")).toContain("takes a queue and no key");
  expect(await fails("list", "imports", "--limit", "3")).toContain("takes no weight and no limit");
});
