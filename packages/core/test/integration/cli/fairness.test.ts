/** `lovage fairness` as a user types it, beside a worker of a fair queue on a SQLite file. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { Lovage } from "lovage";

import { eventually } from "../../support/eventually.ts";
import { Project } from "./project.ts";

const APP = `
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";

export const app = new Lovage("imports", { taskQueues: { imports: { fair: true } }, taskDefaultQueue: "imports", shutdownGrace: 0.1 });
export const load = app.task("imports.load", { fairKey: (tenant: string) => tenant }, async (tenant: string) => { await sleep(60_000); return tenant; });
`;

const none = (): void => undefined;
const quiet = { debug: none, info: none, warn: none, error: none, child: () => quiet };

test("keys are limited, paused, listed and resumed while a worker runs", async () => {
  await using project = new Project({ "src/app.ts": APP });
  const url = `sqlite://${join(project.directory, "imports.db")}`;
  const lovage = async (...words: string[]) => await project.run(["-q", "-A", "src/app.ts", "-b", url, ...words]);
  await using app = new Lovage("watching", { brokerUrl: url, env: false, configFile: false, logger: quiet });
  const keys = async (): Promise<string[]> =>
    (await app.fairness.state("imports")).keys.map(({ key, waiting, running }) => `${key} ${waiting} ${running}`).toSorted();

  expect((await lovage("fairness", "set", "imports", "--limit", "1")).stdout).toBe(
    "keys of imports without settings of their own: weight 1, 1 at once\n",
  );
  expect((await lovage("fairness", "pause", "imports", "evil", "--reason", "abuse", "--by", "ann")).stdout).toMatch(
    /^evil of imports: weight 1, 1 at once, paused by ann since .*Z \(abuse\)\n$/,
  );
  for (const tenant of ["acme", "acme", "acme", "evil"])
    await app.sendTask("imports.load", [tenant], undefined, { queue: "imports", fairKey: tenant });
  expect((await lovage("call", "imports.load", "-a", '["other"]', "--fair-key", "umbrella")).code).toBe(0);
  expect((await app.fairness.state("imports")).unsorted).toBe(5);

  const worker = project.start(["-A", "src/app.ts", "-b", url, "worker", "-c", "10"]);
  await worker.says(/ ready\./);
  await eventually("one of each key to run", async () => (await keys()).join() === "acme 2 1,evil 1 0,umbrella 0 1", 60_000);
  expect(JSON.parse((await lovage("fairness", "list", "imports", "--json")).stdout)).toMatchObject({
    queue: "imports",
    unsorted: 0,
    defaults: { weight: 1, limit: 1 },
    keys: [
      { key: "acme", waiting: 2, running: 1, weight: 1, limit: 1, paused: null },
      { key: "evil", waiting: 1, running: 0, paused: { by: "ann", reason: "abuse" } },
      { key: "umbrella", waiting: 0, running: 1 },
    ],
    more: false,
  });

  await lovage("fairness", "set", "imports", "acme", "--limit", "3", "--weight", "2");
  await lovage("fairness", "resume", "imports", "evil");
  await eventually("all to run", async () => (await keys()).join() === "acme 0 3,evil 0 1,umbrella 0 1", 60_000);
  const table = (await lovage("fairness", "list", "imports")).stdout.split("\n");
  expect(table[0]).toMatch(/^key +waiting +running +weight +limit +paused$/);
  expect(table[1]).toMatch(/^acme +0 +3 +2 +3$/);
  expect((await lovage("fairness", "release", "imports")).stdout).toBe("0 messages put back into imports\n");
});

test("what makes no sense is refused before anything is asked", async () => {
  await using project = new Project({ "src/app.ts": APP });
  const fails = async (...words: string[]): Promise<string> => {
    const { code, stderr } = await project.run(["-q", "-A", "src/app.ts", "fairness", ...words]);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await fails("set", "imports")).toContain("needs --weight, --limit");
  expect(await fails("list", "imports", "--limit", "3")).toContain("takes no weight and no limit");
  expect(await fails("pause", "imports")).toContain("needs a key");
});
