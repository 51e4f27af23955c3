/** `lovage unique` as a user types it, on the embedded broker. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { Lovage } from "lovage";

import { Project } from "./project.ts";

const APP = `
import { Lovage } from "lovage";

export const app = new Lovage("orders");
export const charge = app.task({
  name: "orders.charge",
  unique: { key: (order: string) => order },
  run: (_, order: string) => order,
});
`;

const none = (): void => undefined;
const quiet = { debug: none, info: none, warn: none, error: none, child: () => quiet };

test("locks are listed, and broken, whoever holds them", async () => {
  await using project = new Project({ "src/app.ts": APP });
  const url = `sqlite://${join(project.directory, "orders.db")}`;
  const lovage = async (...words: string[]) => await project.run(["-q", "-A", "src/app.ts", "-b", url, ...words]);
  await using app = new Lovage("shop", { brokerUrl: url, env: false, configFile: false, logger: quiet });
  const call = async (order: string, queue: string) =>
    await app.sendTask("orders.charge", [order], undefined, { queue, unique: { key: order, keepLast: order === "7" } });

  expect(await lovage("unique", "list")).toMatchObject({ code: 0, stdout: "no lock is held\n" });
  const [slow, first, last] = [await call("slow", "celery"), await call("7", "other"), await call("7", "other")];
  const shown = JSON.parse((await lovage("unique", "list", "--json")).stdout) as unknown[];
  const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/);
  const lock = { since: instant, until: instant };
  expect(shown).toHaveLength(2);
  expect(shown).toContainEqual({ ...lock, name: "orders.charge:slow", mode: "done", taskId: slow.id, queue: "celery", nextTaskId: null });
  expect(shown).toContainEqual({ ...lock, name: "orders.charge:7", mode: "last", taskId: first.id, queue: "other", nextTaskId: last.id });
  const table = (await lovage("unique", "list", "other")).stdout.split("\n");
  expect(table[0]).toMatch(/^lock +mode +held by +queue +since +until$/);
  expect(table.slice(1)).toEqual([expect.stringMatching(new RegExp(`^orders.charge:7 +last +${first.id} +other +20\\S+Z +20\\S+Z$`)), ""]);

  const broken = await lovage("unique", "break", "orders.charge:7");
  expect(broken).toMatchObject({ code: 0, stdout: `orders.charge:7 is free: ${first.id} held it\n` });
  // What waited for its turn holds the lock then.
  expect(JSON.parse((await lovage("unique", "break", "orders.charge:7", "--json")).stdout)).toEqual({
    name: "orders.charge:7",
    taskId: last.id,
  });
  expect((await app.unique.list()).map(({ taskId }) => taskId)).toEqual([slow.id]);
});

test("a lock that nobody holds, and a break without a name, are errors", async () => {
  await using project = new Project({ "src/app.ts": APP });
  const lovage = async (...words: string[]) => await project.run(["-q", "-A", "src/app.ts", ...words]);
  const nobody = await lovage("unique", "break", "orders.charge:1");
  expect([nobody.code, nobody.stdout]).toEqual([1, ""]);
  expect(nobody.stderr).toContain("nobody holds the lock orders.charge:1");
  const nameless = await lovage("unique", "break");
  expect(nameless.code).toBe(2);
  expect(nameless.stderr).toContain("`lovage unique list` names them");
});
