/** `lovage worker`: its processes, what ends them, and what they say. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { ANOTHER_SIGNAL_MS, Project, type Running } from "./project.ts";

const onWindows = process.platform === "win32";

async function workerPid(project: Project): Promise<number> {
  const { stdout } = await project.run(["-q", "-A", "src/app", "call", "shop.whoami", "--wait", "--timeout", "20"]);
  return (JSON.parse(stdout) as { pid: number }).pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Waits for a process that is not a child of ours to be gone. */
async function gone(pid: number): Promise<void> {
  await eventually(`process ${pid} is gone`, () => !isAlive(pid), 30_000);
}

async function startNap(project: Project, worker: Running, seconds: number): Promise<string> {
  const { stdout } = await project.run(["-q", "-A", "src/app", "call", "shop.nap", "-a", `[${seconds}]`]);
  const id = stdout.trim();
  await worker.says(new RegExp(`Task shop\\.nap\\[${id}\\] received`));
  return id;
}

async function ready(project: Project): Promise<unknown> {
  const { stdout } = await project.run(["-q", "-A", "src/app", "queues", "--json"]);
  return (JSON.parse(stdout) as { ready: number }[])[0]?.ready;
}

test("the banner tells what runs; tasks are logged in Celery's words", async () => {
  await using project = new Project();
  const worker = await project.worker("-n", "till@%h", "-c", "7", "-Q", "celery,mail");
  await worker.says(/till@\S+ lovage v\d[^]*transport: +sqlite:[^]*concurrency: 7 \(async\)[^]*mail[^]*shop\.add/);
  await project.run(["-A", "src/app", "call", "shop.add", "-a", "[2, 3]", "--queue", "mail"]);
  await worker.says(/: INFO\/MainProcess\] Task shop\.add\[\S+\] received/);
  await worker.says(/: INFO\/MainProcess\] Task shop\.add\[\S+\] succeeded in \S+s: 5/);
  expect(worker.stdout).not.toContain("\u001b");
});

test.skipIf(onWindows)("the first signal lets tasks finish, and the exit code is 0", async () => {
  await using project = new Project();
  const worker = await project.worker();
  const id = await startNap(project, worker, 1);
  worker.signal("SIGTERM");
  await worker.says(/Warm shutdown/);
  expect(await worker.finished).toMatchObject({ code: 0, stderr: expect.stringContaining(`Task shop.nap[${id}] succeeded`) });
});

test.skipIf(onWindows)("a second signal puts back what runs", async () => {
  await using project = new Project();
  const worker = await project.worker();
  await startNap(project, worker, 60);
  worker.signal("SIGINT");
  await worker.says(/Warm shutdown/);
  await sleep(ANOTHER_SIGNAL_MS);
  worker.signal("SIGINT");
  await worker.says(/Cold shutdown/);
  expect(await worker.finished).toMatchObject({ code: 0 });
  expect(await ready(project)).toBe(1);
});

test.skipIf(onWindows)("QUIT puts back what runs at once", async () => {
  await using project = new Project();
  const worker = await project.worker();
  await startNap(project, worker, 60);
  worker.signal("SIGQUIT");
  expect(await worker.finished).toMatchObject({ code: 0 });
  expect(await ready(project)).toBe(1);
});

test.skipIf(onWindows)("a task that keeps the event loop busy cannot hold up a cold stop", async () => {
  await using project = new Project();
  const worker = await project.worker();
  await project.run(["-A", "src/app", "call", "shop.spin"]);
  await worker.says(/Task shop\.spin\[\S+\] received/);
  worker.signal("SIGQUIT");
  const ended = await worker.finished;
  expect(ended.stderr).toMatch(/WARNING\/Supervisor\] a worker process did not stop/);
});

test("a process that is killed is started again, and its message runs", async () => {
  await using project = new Project();
  const worker = await project.worker();
  const pid = await workerPid(project);
  const seen = worker.stderr.length;
  process.kill(pid, "SIGKILL");
  await worker.says(/ERROR\/Supervisor\] worker process 1 ended \(SIGKILL\)/);
  await worker.says(/ ready\./, seen);
  expect(await workerPid(project)).not.toBe(pid);
});

test("a process whose event loop stays blocked is killed where that is asked for, until its task is given up", async () => {
  await using project = new Project();
  const env = { CELERY_WORKER_BLOCKED_KILL: "500ms", CELERY_LEASE_TIME: "1s", CELERY_MAX_DELIVERIES: "2" };
  const worker = project.start(["-A", "src/app", "worker"], { env });
  await worker.says(/ ready\./);
  await project.run(["-A", "src/app", "call", "shop.spin"]);
  await worker.says(/busy with itself for 0\.5 s[^]+ \(SIGKILL\)[^]+busy with itself for 0\.5 s[^]+ \(SIGKILL\)/);
  await worker.says(/shop\.spin\S+ cannot be run and is put with the dead letters: the worker was lost 2 times/);
  expect(await workerPid(project)).toBeGreaterThan(0);
});

test("workers stop when their supervisor is gone", async () => {
  await using project = new Project();
  const worker = await project.worker();
  const pid = await workerPid(project);
  worker.signal("SIGKILL");
  await worker.finished;
  await gone(pid);
  expect(await ready(project)).toBe(0);
});

test("several processes have names of their own, and all end", async () => {
  await using project = new Project();
  const worker = project.start(["-A", "src/app", "worker", "--processes", "2", "-n", "till@shop"]);
  await worker.says(/Worker-1\] till-1@shop ready\./);
  await worker.says(/Worker-2\] till-2@shop ready\./);
  expect(worker.stdout.match(/lovage v/g)).toHaveLength(1);
  const pid = await workerPid(project);
  worker.signal("SIGTERM");
  expect(await worker.finished).toMatchObject({ code: 0 });
  expect(isAlive(pid)).toBe(false);
});

test("what the command line says reaches the worker process, but not the programs that it starts", async () => {
  await using project = new Project();
  const url = `sqlite://${join(project.directory, "other.db")}`;
  const worker = await project.worker("-b", url, "--result-backend", url, "--", "task.default_queue=urgent");
  await worker.says(/ready\. queues=urgent/);
  const options = ["-b", url, "--result-backend", url, "--queue", "urgent", "--wait", "--json", "--timeout", "20"];
  const { stdout } = await project.run(["call", "shop.whoami", ...options]);
  expect(JSON.parse(stdout)).toMatchObject({ state: "SUCCESS", result: { plan: null } });
});

test("a forgotten rejection is logged and disturbs nobody", async () => {
  await using project = new Project();
  const worker = await project.worker();
  const pid = await workerPid(project);
  await project.run(["-A", "src/app", "call", "shop.forget", "--wait", "--timeout", "20"]);
  await worker.says(/ERROR\/MainProcess\] a promise was rejected and nobody handled it\nError: nobody waits for me/);
  expect(await workerPid(project)).toBe(pid);
});

test("an error thrown outside of any task ends the process, which gives its messages back first", async () => {
  await using project = new Project();
  const worker = await project.worker();
  const seen = worker.stderr.length;
  await project.run(["-A", "src/app", "call", "shop.crash"]);
  await worker.says(/an error was thrown outside of any task[^]*outside of any task[^]*worker process 1 ended \(exit code 1\)/);
  await worker.says(/ ready\./, seen);
  const [, id] = await worker.says(/Task shop\.crash\[(\S+)\] received/, seen);
  expect(worker.stderr).toContain(`Task shop.crash[${id}] interrupted`);
});

test("settings that are not accepted end it at once with 78, in one line", async () => {
  await using project = new Project();
  const wrong = await project.run(["-A", "src/app", "worker"], { env: { CELERY_TASK_TIME_LIMIT: "soon" } });
  expect(wrong).toMatchObject({ code: 78, stderr: expect.stringMatching(/^error: CELERY_TASK_TIME_LIMIT .*"soon"/m) });
  expect(wrong.stderr).not.toContain("Supervisor");
  const production = await project.run(["-A", "src/app", "worker"], { env: { NODE_ENV: "production" } });
  expect(production).toMatchObject({ code: 78, stderr: expect.stringMatching(/^error: CELERY_BROKER_URL is not set/m) });
  expect(await project.run(["worker"])).toMatchObject({ code: 2, stderr: expect.stringContaining("-A") });
});

test("the log is JSON when that is asked for, and then nothing else is printed", async () => {
  await using project = new Project();
  const worker = await project.worker("--log-format", "json");
  await worker.end();
  expect(worker.stdout).toBe("");
  const lines = worker.stderr.trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>); // prettier-ignore
  expect(lines).toContainEqual(expect.objectContaining({ level: 30, process: "MainProcess", msg: expect.stringContaining("ready.") }));
});

test("the log goes to a file, and its level is Celery's", async () => {
  await using project = new Project();
  const worker = project.start(["-A", "src/app", "worker", "-l", "WARNING", "-f", "worker-%i.log"]);
  await worker.says(/lovage v/);
  await project.run(["-A", "src/app", "call", "shop.boom", "--wait", "--timeout", "20"]);
  worker.signal("SIGTERM");
  await worker.finished;
  const log = readFileSync(join(project.directory, "worker-0.log"), "utf8");
  expect(log).toMatch(
    /ERROR\/MainProcess\] Task shop\.boom\[\S+\] raised unexpected: TypeError\('no such thing'\)\nTypeError: no such thing\n +at /,
  );
  expect(log).not.toContain("INFO");
});

test("--purge discards what waited, once: not again when a process is started again", async () => {
  await using project = new Project();
  for (let sent = 0; sent < 2; sent++) await project.run(["-A", "src/app", "call", "shop.boom"]);
  const worker = await project.worker("--purge");
  const pid = await workerPid(project);
  expect(worker.stderr).not.toContain("shop.boom");
  const { stdout } = await project.run(["-q", "-A", "src/app", "call", "shop.nap", "-a", "[0]", "--countdown", "3600"]);
  expect(stdout).not.toBe("");
  const seen = worker.stderr.length;
  process.kill(pid, "SIGKILL");
  await worker.says(/ ready\./, seen);
  const depth = await project.run(["-q", "-A", "src/app", "queues", "--json"]);
  expect(JSON.parse(depth.stdout)).toMatchObject([{ parked: 1 }]);
});

test("--watch starts it again on a change, and waits out a change that does not load", async () => {
  await using project = new Project();
  const source = readFileSync(join(project.directory, "src/app.ts"), "utf8");
  const worker = await project.worker("--watch");
  await worker.says(/watching .* for changes/);

  let seen = worker.stderr.length;
  project.write("src/app.ts", source.replace("x + y", "x * y"));
  await worker.says(/starting again: src\/app\.ts changed[^]* ready\./, seen);
  const product = await project.run(["-q", "-A", "src/app", "call", "shop.add", "-a", "[2, 5]", "--wait", "--timeout", "20"]);
  expect(product.stdout).toBe("10\n");

  seen = worker.stderr.length;
  project.write("src/app.ts", `${source}broken(`);
  await worker.says(/cannot load [^]*waiting for a change/, seen);

  seen = worker.stderr.length;
  project.write("src/new/tasks.ts", "export {};\n");
  project.write("src/app.ts", source);
  await worker.says(/ ready\./, seen);

  seen = worker.stderr.length;
  project.write("src/notes.txt", "not code");
  project.write("dist/app.js", "ignored");
  project.write("src/new/tasks.ts", "export const changed = true;\n");
  await worker.says(/starting again: src\/new\/tasks\.ts changed[^]* ready\./, seen);
  worker.signal("SIGINT");
  expect(await worker.finished).toMatchObject({ code: 0 });
});
