// #region tasks
import { type BatchSummary, currentBatch } from "lovage";
import { app } from "./tasks.ts";

export const importRow = app.task("imports.row", (row: string) => row.toUpperCase());
export const imported = app.task("imports.done", (summary: BatchSummary) => `${summary.succeeded} rows of ${summary.description}`);
export const ended = app.task("imports.ended", (summary: BatchSummary) => `${summary.failed + summary.dead} of ${summary.total} failed`);
export const alarm = app.task("imports.alarm", (summary: BatchSummary, team: string) => `${team}: look at ${summary.id}`);
// #endregion

async function* rowsOf(file: string): AsyncGenerator<string> {
  for (const line of ["one", "two", "three"]) yield `${file}: ${line}`;
}

export async function importFile(file: string): Promise<BatchSummary> {
  // #region make
  const batch = await app.batch(
    { description: file, onSuccess: imported.s(), onComplete: ended.s(), onDeath: alarm.s("imports team") },
    async (adding) => {
      async function* members() {
        for await (const row of rowsOf(file)) yield importRow.s(row);
      }
      await adding.add(members());
    },
  );
  const summary = await batch.whenComplete().get({ timeout: "1h" });
  // #endregion
  return summary;
}

// #region add
export const crawl = app.task("imports.crawl", async (url: string, depth: number): Promise<string> => {
  const links = depth === 0 ? [] : [`${url}/a`, `${url}/b`];
  await currentBatch()?.add(links.map((link) => crawl.s(link, depth - 1)));
  return url;
});
// #endregion

export async function crawlAll(url: string): Promise<BatchSummary> {
  const batch = await app.batch({}, (adding) => adding.add([crawl.s(url, 2)]));
  return await batch.whenComplete().get({ timeout: "1h" });
}

export async function month(files: readonly string[]): Promise<BatchSummary> {
  // #region nested
  const whole = await app.batch({ description: "May", onSuccess: imported.s() }, async (adding) => {
    for (const file of files) await adding.child({ description: file }, (child) => child.add([importRow.s(`${file}: one`)]));
  });
  // #endregion
  return await whole.whenComplete().get({ timeout: "1h" });
}

export async function look(id: string): Promise<void> {
  // #region look
  const batch = app.openBatch(id);
  const { total, pending, succeeded, failed, dead } = await batch.counts(); // one look, however large it is
  const states = await batch.states(0, 1000); // of the first thousand members
  const first = await batch.result(0).state();
  await batch.cancel();
  // #endregion
  app.logger.info({ total, pending, succeeded, failed, dead, states: states.length, first }, "looked");
}

export async function repair(id: string): Promise<void> {
  // #region repair
  const workflow = app.workflow(id);
  const { root, problems } = await workflow.explain({ limit: 100 });
  for (const { id: taskId, problem } of problems) app.logger.warn({ taskId }, problem);
  if (root.counts?.dead) await workflow.retry();
  // #endregion
}
