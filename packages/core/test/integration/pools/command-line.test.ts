/** Pools as the command line starts them, with app modules of every kind. */
import { expect, test } from "vitest";
import { Project } from "../cli/project.ts";

const FILES = {
  "app.ts": `
import { threadId } from "node:worker_threads";
import { Lovage } from "lovage";
enum Word { Hello = "hello" } // what Node alone does not load
const app: Lovage = new Lovage("typescript");
app.task("here", (): unknown => ({ word: Word.Hello, pid: process.pid, thread: threadId, concurrency: app.settings.taskDefaultMaxRetries }));
app.autodiscover("tasks/*.ts");
export { app };
`,
  "tasks/more.ts": 'import { app } from "../app.ts";\napp.task("more", () => ({ found: true }));\n',
  "app.mjs": `
import { threadId } from "node:worker_threads";
import { Lovage } from "lovage";
const answer = await Promise.resolve(42); // top-level await
export const first = new Lovage("first");
export const second = new Lovage("second");
second.task("here", () => ({ answer, pid: process.pid, thread: threadId }));
`,
  "app.cjs": `
const { threadId } = require("node:worker_threads");
const { Lovage } = require("lovage");
const app = new Lovage("commonjs");
app.task("here", () => ({ pid: process.pid, thread: threadId }));
module.exports = { app };
`,
  "broken.mjs": `
import { isMainThread } from "node:worker_threads";
import { Lovage } from "lovage";
if (!isMainThread) throw new Error("no thread may have me");
export const app = new Lovage("broken");
`,
};

interface Place {
  readonly pid: number;
  readonly thread: number;
}

test.each([
  ["app.ts", "prefork"],
  ["app.ts", "threads"],
  ["app.mjs:second", "processes"],
  ["app.mjs:second", "threads"],
  ["app.cjs", "processes"],
  ["app.cjs", "threads"],
])("%s in %s", async (app, pool) => {
  await using project = new Project(FILES);
  const call = async (task: string): Promise<unknown> => {
    const done = await project.run(["-q", "-A", app, "call", task, "--wait", "--timeout", "20"]);
    expect(done.stderr).toBe("");
    return JSON.parse(done.stdout);
  };
  const worker = project.start(["-A", app, "worker", "-P", pool, "-c", "1", "--", "task_default_max_retries=9"]);
  await worker.says(/ ready\./);
  expect(worker.stdout).toContain(`concurrency: 1 (${pool === "prefork" ? "processes" : pool})`);
  const place = (await call("here")) as Place;
  if (pool === "threads") expect(place.thread).toBeGreaterThan(0);
  else expect(place).toMatchObject({ thread: 0 });
  if (app === "app.ts") {
    expect(place).toMatchObject({ word: "hello", concurrency: 9 }); // the command line's settings hold in children too
    expect(await call("more")).toEqual({ found: true });
  }
  worker.signal("SIGTERM");
  expect((await worker.finished).code).toBe(0);
});

test("a module that no thread can load fails the command, and names itself", async () => {
  await using project = new Project(FILES);
  const { code, stderr } = await project.run(["-A", "broken.mjs", "worker", "-P", "threads", "-c", "1"]);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/broken\.mjs/);
  expect(stderr).toMatch(/no thread may have me/);
});

test("Ctrl+C in a terminal reaches the children too, and what they run may finish", async () => {
  await using project = new Project();
  const worker = await project.worker("-P", "processes", "-c", "1");
  const { stdout } = await project.run(["-q", "-A", "src/app", "call", "shop.whoami", "--wait", "--timeout", "20"]);
  const { pid } = JSON.parse(stdout) as { pid: number };
  const sent = await project.run(["-q", "-A", "src/app", "call", "shop.nap", "-a", "[2]"]);
  await worker.says(/shop\.nap\[.*received/);
  const id = sent.stdout.trim();
  for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT"] as const) process.kill(pid, signal); // as a terminal or a service manager does
  worker.signal("SIGINT");
  expect((await worker.finished).code).toBe(0);
  expect(worker.stderr).toMatch(new RegExp(`shop\\.nap\\[${id.replaceAll('"', "")}\\] succeeded`));
});
