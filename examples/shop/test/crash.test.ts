import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { TaskView } from "../src/task-board.ts";
import { RunningShop } from "./running-shop.ts";

test.skipIf(process.platform !== "linux")("a report whose worker is killed half way is made all the same", async () => {
  await using shop = await RunningShop.start();
  const url = (await shop.printed(/The shop is open: (\S+)/))[1] ?? "";
  await shop.printed(/Ctrl\+C closes the shop/);

  const rows = 300_000;
  const body = `date,amount\n${"2024-01-31,0.01\n".repeat(rows)}`;
  const uploaded = await fetch(`${url}/api/uploads?name=cents.csv`, { method: "POST", headers: { "content-type": "text/csv" }, body });
  const { id } = (await uploaded.json()) as { id: string };

  const percents: number[] = [];
  let killed = false;
  for await (const view of tasksOf(url)) {
    if (view.id !== id) continue;
    if (view.percent !== null) percents.push(view.percent);
    if (!killed && (view.percent ?? 0) >= 20) {
      killed = true;
      process.kill(await descendant(shop.process.pid as number, "lovage worker reports@"), "SIGKILL");
    }
    if (view.state === "done" || view.state === "failed") break;
  }

  expect(killed).toBe(true);
  expect(percents.some((percent, index) => percent < (percents[index - 1] ?? 0))).toBe(true); // it began anew
  expect(await (await fetch(`${url}/api/reports/${id}`)).json()).toMatchObject({ rows, total: "3000.00" });
});

/** What the page is told about tasks. */
async function* tasksOf(url: string): AsyncGenerator<TaskView> {
  const response = await fetch(`${url}/api/events`);
  let text = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const events = (text + chunk).split("\n\n");
    text = events.pop() ?? "";
    for (const event of events)
      if (event.startsWith("event: task\n")) yield JSON.parse(event.slice(event.indexOf("data: ") + 6)) as TaskView;
  }
}

/** The id of the process below `root` whose title begins so. */
async function descendant(root: number, title: string): Promise<number> {
  const waiting = [root];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if ((await readFile(`/proc/${id}/cmdline`, "utf8")).startsWith(title)) return id;
    const children = await readFile(`/proc/${id}/task/${id}/children`, "utf8");
    waiting.push(...children.split(" ").filter(Boolean).map(Number));
  }
  throw new Error(`no process is called ${title}`);
}
