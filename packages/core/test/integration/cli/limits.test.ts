/** `lovage limits` as a user types it, beside a worker on the embedded broker. */
import { expect, test } from "vitest";

import { eventually } from "../../support/eventually.ts";
import { Project } from "./project.ts";

const APP = `
import { Lovage } from "lovage";

export const app = new Lovage("api", { shutdownGrace: 0.1, queueLimits: { celery: { concurrency: 5 } } });
export const call = app.task("api.call", { limit: { name: "api", rate: "30/h", key: (customer: string) => customer } }, (customer: string) => customer);
`;

interface Shown {
  readonly name: string;
  readonly key: string | null;
  readonly ratePerSecond: number | null;
  readonly isSet: boolean;
  readonly waiting: number;
}

test("limits are listed, set, held back and cleared while a worker runs", async () => {
  await using project = new Project({ "src/app.ts": APP });
  const lovage = async (...words: string[]) => await project.run(["-q", "-A", "src/app.ts", ...words]);
  const shown = async (): Promise<readonly Shown[]> => JSON.parse((await lovage("limits", "list", "--json")).stdout) as readonly Shown[];
  const waiting = async (count: number): Promise<void> => {
    await eventually(`${count} to wait`, async () => (await shown()).reduce((sum, each) => sum + each.waiting, 0) === count, 30_000);
  };

  expect((await lovage("limits", "list")).stdout).toBe("there are no limits\n");
  expect((await lovage("limits", "set", "api")).code).toBe(2);
  expect((await lovage("limits", "hold", "api")).code).toBe(2);

  const worker = project.start(["-A", "src/app.ts", "worker", "-c", "4"]);
  await worker.says(/ ready\./);
  for (const customer of ["a", "a", "a", "b", "b"]) await lovage("call", "api.call", "-a", JSON.stringify([customer]));
  await waiting(3);
  const table = (await lovage("limits", "list")).stdout.split("\n");
  expect(table[0]).toMatch(/^limit +key +rate +burst +at once +by +waiting +running +next in$/);
  expect(table[1]).toMatch(/^api +a +30\/h +1 +code +2 +0 +\d+ ms$/);

  expect((await lovage("limits", "set", "api", "--rate", "100/s", "--key", "a")).stdout).toBe("api of a: set\n");
  await waiting(1);
  expect((await lovage("limits", "set", "api", "--none")).stdout).toBe("api: set\n");
  await waiting(0);
  expect((await lovage("limits", "clear", "api", "--key", "a")).stdout).toBe("api of a: as the code says\n");
  await lovage("limits", "clear", "api");
  expect(await shown()).toContainEqual(expect.objectContaining({ name: "api", key: null, ratePerSecond: 30 / 3600, isSet: false }));
  const mistyped = await lovage("limits", "hold", "apy", "--for", "10m");
  expect([mistyped.code, mistyped.stdout]).toEqual([2, ""]);
  expect(mistyped.stderr).toContain('there is no limit apy: known are api, queue:celery. Did you mean "api"?');
  expect((await lovage("limits", "hold", "api", "--key", "c", "--for", "10m")).stdout).toBe("api of c: held back\n");
  await lovage("call", "api.call", "-a", '["c"]');
  await waiting(1);
});
