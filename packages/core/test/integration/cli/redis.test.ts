/** The commands against a Redis server, there and not there. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { freePort, Project } from "./project.ts";

/** A server of the test's own, with a password. */
async function startRedis(port: number, password: string): Promise<AsyncDisposable & { readonly url: string }> {
  const server = spawn(
    "redis-server",
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", password],
    { stdio: "pipe" },
  );
  await saysReady(server);
  return {
    url: `redis://:${password}@127.0.0.1:${port}/0`,
    async [Symbol.asyncDispose]() {
      server.kill("SIGKILL");
      await once(server, "exit");
    },
  };
}

async function saysReady(server: ChildProcess): Promise<void> {
  for await (const part of server.stdout ?? []) if (String(part).includes("Ready to accept connections")) break;
  server.stdout?.resume();
}

test("with Redis away, call and queues name the host and exit with 69; report still reports", async () => {
  await using project = new Project();
  const port = await freePort();
  const url = `redis://:hunter2@127.0.0.1:${port}/0`;
  const sent = await project.run(["-A", "src/app", "-b", url, "call", "shop.add", "-a", "[1, 2]"]);
  expect(sent).toMatchObject({ code: 69, stdout: "" });
  expect(sent.stderr).toContain(`127.0.0.1:${port}`);
  const queues = await project.run(["-b", url, "queues", "--json"]);
  expect(queues.code).toBe(69);
  expect(JSON.parse(queues.stderr.trim().split("\n").at(-1) ?? "")).toMatchObject({
    error: { message: expect.stringContaining(`127.0.0.1:${port}`), hint: expect.stringContaining("-b") },
  });
  const result = await project.run(["--result-backend", url, "result", "some-id"]);
  expect(result).toMatchObject({ code: 69, stderr: expect.stringContaining(`127.0.0.1:${port}`) });
  const report = await project.run(["-b", url, "report"]);
  expect(report).toMatchObject({ code: 0, stdout: expect.stringContaining("cannot reach the broker") });
  expect(sent.stderr + queues.stderr + report.stdout + report.stderr).not.toContain("hunter");
});

test("a task goes to a worker and its result comes back; nothing shows the password", async () => {
  await using project = new Project();
  await using server = await startRedis(await freePort(), "hunter2");
  const { url } = server;
  const options = ["-A", "src/app", "-b", url, "--result-backend", url];
  const sent = await project.run([...options, "call", "shop.add", "-a", "[2, 3]"]);
  expect(sent.code).toBe(0);
  expect(JSON.parse((await project.run([...options, "queues", "--json"])).stdout)).toMatchObject([{ queue: "celery", ready: 1 }]);

  const worker = project.start([...options, "worker"]);
  await worker.says(/ ready\./);
  const result = await project.run([...options, "result", sent.stdout.trim(), "--timeout", "20"]);
  expect(result).toMatchObject({ code: 0, stdout: "5\n" });
  expect(commandLines(project.directory).filter((line) => line.includes("hunter"))).toEqual([]);
  worker.signal("SIGTERM");
  const ended = await worker.finished;
  expect(ended.code).toBe(0);
  expect(ended.stdout + ended.stderr).not.toContain("hunter");

  await project.run([...options, "call", "shop.add"]);
  expect(await project.run([...options, "purge", "-f"])).toMatchObject({ code: 0, stdout: "celery: 1 message discarded\n" });
  const wrong = await project.run(["-b", url.replace("hunter2", "guess"), "queues"]);
  expect(wrong.code).toBe(69);
  expect(wrong.stderr).toMatch(/password|WRONGPASS/i);
  expect(wrong.stderr).not.toMatch(/hunter|guess/);
});

test("a worker that is started before Redis waits for it", async () => {
  await using project = new Project();
  const port = await freePort();
  const worker = project.start(["-A", "src/app", "-b", `redis://:hunter2@127.0.0.1:${port}/0`, "worker"]);
  await worker.says(new RegExp(`127\\.0\\.0\\.1:${port}`));
  await using server = await startRedis(port, "hunter2");
  await worker.says(/ ready\./);
  expect(worker.stdout).toContain(`transport:   ${server.url.replace(":hunter2@", "")}`);
  worker.signal("SIGTERM");
  expect(await worker.finished).toMatchObject({ code: 0 });
});

/** Of the processes that run in a directory, as any user of the machine can read them. Linux only; elsewhere none. */
function commandLines(directory: string): string[] {
  if (!existsSync("/proc/self/cmdline")) return [];
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
      return environment.includes(`PWD=${directory}`) ? [readFileSync(`/proc/${pid}/cmdline`, "utf8")] : [];
    } catch {
      return []; // no process, or one of another user, or gone meanwhile
    }
  });
}
