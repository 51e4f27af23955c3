/** Each command on the embedded broker, as a user types it. */
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Project, type Running } from "./project.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$/;

/** With a worker, for the tests that need results. */
let served: Project;
let worker: Running;

beforeAll(async () => {
  served = new Project();
  worker = await served.worker();
});

afterAll(async () => {
  await worker.end();
  await served[Symbol.asyncDispose]();
});

test("call prints the id, and needs no worker", async () => {
  await using project = new Project();
  const sent = await project.run(["-A", "src/app", "call", "shop.add", "-a", "[2, 3]"]);
  expect(sent).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(UUID),
    stderr: expect.stringContaining("using the embedded broker"),
  });
  const parked = await project.run(["-A", "src/app", "call", "shop.add", "-a", "[2, 3]", "--queue", "mail", "--json", "-q"]);
  expect(JSON.parse(parked.stdout)).toEqual({ id: expect.stringMatching(/^[0-9a-f-]{36}$/), task: "shop.add" });
  expect(parked.stderr).toBe("");
  const depths = await project.run(["-A", "src/app", "queues", "-Q", "celery,mail", "--json"]);
  expect(JSON.parse(depths.stdout)).toEqual([
    { queue: "celery", ready: 1, parked: 0, onLoan: 0, dead: 0, paused: null },
    { queue: "mail", ready: 1, parked: 0, onLoan: 0, dead: 0, paused: null },
  ]);
  const table = await project.run(["-A", "src/app", "queues"]);
  expect(table.stdout.split("\n")[0]).toMatch(/^queue +ready +parked +on loan +dead$/);
  expect(table.stdout.split("\n")[1]).toMatch(/^celery +1 +0 +0 +0$/);
});

test("no app is needed to send: the project's own embedded broker is used", async () => {
  await using project = new Project();
  mkdirSync(join(project.directory, "deeper"));
  await project.run(["call", "shop.add"], { cwd: join(project.directory, "deeper") });
  const { stdout } = await project.run(["-A", "src/app", "queues", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject([{ ready: 1 }]);
});

test("call --wait prints what the task returned: a text as it is, all else as JSON, long integers whole", async () => {
  const add = await served.run(["-A", "src/app", "call", "shop.add", "-a", "[2, 3]", "--wait", "--timeout", "20"]);
  expect(add).toMatchObject({ code: 0, stdout: "5\n" });
  const text = await served.run(["-A", "src/app", "call", "shop.nap", "-a", "[0]", "--wait", "--timeout", "20"]);
  expect(text.stdout).toBe("rested\n");
  const long = await served.run([
    "-A",
    "src/app",
    "call",
    "shop.echo",
    "-a",
    "[[12345678901234567890, null]]",
    "--wait",
    "--json",
    "--timeout",
    "20",
  ]);
  expect(JSON.parse(long.stdout)).toMatchObject({ state: "SUCCESS", result: ["12345678901234567890", null] });
});

test("result prints what a task returned, or how it failed", async () => {
  const sent = await served.run(["-A", "src/app", "call", "shop.boom"]);
  const id = sent.stdout.trim();
  const failed = await served.run(["-A", "src/app", "result", id, "--timeout", "20"]);
  expect(failed).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringContaining(`task ${id} ended as FAILURE: TypeError: no such thing`),
  });
  expect(failed.stderr).not.toContain("src/app.ts");
  const traced = await served.run(["-A", "src/app", "result", id, "--traceback"]);
  expect(traced.stderr).toContain("src/app.ts");
  const document = await served.run(["-A", "src/app", "result", id, "--json"]);
  expect(document.code).toBe(1);
  expect(JSON.parse(document.stdout)).toMatchObject({ id, state: "FAILURE", error: { type: "TypeError", args: ["no such thing"] } });
});

test("a result that does not come is told with its state, and an exit code of its own", async () => {
  const late = await served.run(["-A", "src/app", "result", "no-such-task", "--timeout", "10ms"]);
  expect(late).toMatchObject({ code: 75, stderr: expect.stringContaining("its state is PENDING") });
  const now = await served.run(["-A", "src/app", "result", "no-such-task", "--timeout", "0", "--json"]);
  expect(now.code).toBe(75);
  expect(JSON.parse(now.stderr)).toMatchObject({ error: { code: "RESULT_TIMEOUT" } });
});

test("Ctrl+C ends the waiting", async () => {
  const waiting = served.start(["-A", "src/app", "result", "no-such-task"]);
  await waiting.says(/waiting, its state is PENDING/);
  waiting.signal("SIGINT");
  expect(await waiting.finished).toMatchObject({ code: 130 });
});

test("purge does nothing without -f where it cannot ask", async () => {
  await using project = new Project();
  for (const queue of ["celery", "mail"]) await project.run(["-A", "src/app", "call", "shop.add", "--queue", queue]);
  const refused = await project.run(["-A", "src/app", "purge", "-Q", "celery,mail"], { input: "yes\n" });
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("-f") });
  const purged = await project.run(["-A", "src/app", "purge", "-f", "-Q", "celery,mail", "-X", "mail"]);
  expect(purged).toMatchObject({ code: 0, stdout: "celery: 1 message discarded\n" });
  const { stdout } = await project.run(["-A", "src/app", "queues", "-Q", "celery,mail", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject([{ ready: 0 }, { ready: 1 }]);
});

test("config shows what is set, where it comes from, and no secret", async () => {
  await using project = new Project({ "lovage.config.json": JSON.stringify({ result_expires: 3600, task_default_queue: "jobs" }) });
  const env = { CELERY_BROKER_URL: "redis://user:hunter2@db.example/0", CELERY_TASK_TIME_LIMIT: "30m", CELERY_REDIS_PASSWORD: "hunter3" };
  const { stdout } = await project.run(["-A", "src/app", "config", "--", "task.default_queue=urgent"], { env });
  expect(stdout).toMatch(/^broker_url +"redis:\/\/user:\*+@db\.example\/0" +the environment$/m);
  expect(stdout).toMatch(/^task_time_limit +30m +the environment$/m);
  expect(stdout).toMatch(/^task_default_queue +"urgent" +the command line$/m);
  expect(stdout).toMatch(/^result_expires +1h .*lovage\.config\.json$/m);
  expect(stdout).not.toContain("hunter");
  expect(stdout).not.toContain("task_acks_late");
  const all = await project.run(["-A", "src/app", "config", "--defaults", "--json"], { env });
  expect(JSON.parse(all.stdout)).toMatchObject({
    task_time_limit: { value: 1800, origin: "the environment" },
    redis_password: { value: "********" },
    task_acks_late: { value: true, origin: "default" },
  });
  const some = await project.run(["-A", "src/app", "config", "acksLate"]);
  expect(some.stdout).toMatch(/^task_acks_late +true +default$/m);
});

test("another configuration file can be named", async () => {
  await using project = new Project({
    "lovage.config.json": JSON.stringify({ task_default_queue: "usual" }),
    "other.json": JSON.stringify({ task_default_queue: "other" }),
  });
  const { stdout } = await project.run(["-A", "src/app", "config", "--config", "other.json"]);
  expect(stdout).toMatch(/^task_default_queue +"other" .*other\.json$/m);
  const missing = await project.run(["-A", "src/app", "config", "--config", "none.json"]);
  expect(missing).toMatchObject({ code: 78, stderr: expect.stringContaining("none.json") });
});

test("report names versions and places, makes no file, and shows no secret", async () => {
  await using project = new Project();
  const { stdout, code } = await project.run(["-A", "src/app", "report", "--json"], {
    env: { CELERY_RESULT_BACKEND: "redis://:hunter2@db/1" },
  });
  const document = JSON.parse(stdout) as Record<string, unknown>;
  expect(code).toBe(0);
  expect(document).toMatchObject({
    software: {
      lovage: expect.stringMatching(/^\d/),
      node: process.versions.node,
      ioredis: expect.stringMatching(/^\d/),
      sqlite: expect.stringMatching(/^3\./),
    },
    app: "shop",
    broker: expect.stringContaining(project.directory),
    results: "redis://:********@db/1",
  });
  expect(stdout).not.toContain("hunter");
  expect(readdirSync(project.directory)).not.toContain(".lovage");
});

test("version agrees with the package", async () => {
  const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string };
  expect((await served.run(["--version"])).stdout).toBe(`lovage ${version}\n`);
  expect(JSON.parse((await served.run(["version", "--json"])).stdout)).toMatchObject({ lovage: version });
});

test("help is quick because it loads nothing but the table", async () => {
  await using project = new Project();
  const coverage = join(project.directory, "coverage");
  await project.run(["--help"], { env: { NODE_V8_COVERAGE: coverage } });
  const [file = ""] = readdirSync(coverage);
  const { result } = JSON.parse(readFileSync(join(coverage, file), "utf8")) as { result: { url: string }[] };
  const loaded = result.map(({ url }) => url).filter((url) => url.startsWith("file:")).map((url) => fileURLToPath(url)); // prettier-ignore
  expect(loaded.some((path) => path.endsWith("cli/command-table.js"))).toBe(true);
  expect(loaded.filter((path) => /node_modules/.test(path) && !/node_modules\/(commander|picocolors)\//.test(path))).toEqual([]);
  expect(loaded.filter((path) => /dist\/(app|worker|protocol|brokers|results|stores)\//.test(path))).toEqual([]);
  expect(loaded.filter((path) => /dist\/cli\/commands\//.test(path))).toEqual([]);
});
