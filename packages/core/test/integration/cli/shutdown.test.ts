/** How `lovage worker` is made quiet and stopped, as a terminal, a container or a service manager does it. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { countZombies } from "../../../src/cli/first-process.ts";
import { eventually } from "../../support/eventually.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { ANOTHER_SIGNAL_MS, bin, Project, type Running } from "./project.ts";

const onWindows = process.platform === "win32";

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

test.skipIf(onWindows)("TSTP makes it quiet, also for a process that dies meanwhile, and CONT resumes", async () => {
  await using project = new Project();
  const worker = await project.worker();
  const id = await startNap(project, worker, 1);
  worker.signal("SIGTSTP");
  await worker.says(/worker: Quiet \(MainProcess\), SIGTSTP received[^]*is quiet/);
  await project.run(["-A", "src/app", "call", "shop.add", "-a", "[1, 2]"]);
  await worker.says(new RegExp(`Task shop\\.nap\\[${id}\\] succeeded`)); // what runs goes on
  expect(await ready(project)).toBe(1);

  const pid = childrenOf(worker.process.pid as number)[0] as number;
  const seen = worker.stderr.length;
  process.kill(pid, "SIGKILL");
  await worker.says(/worker process 1 ended \(SIGKILL\)[^]* ready\.[^]*is quiet/, seen);
  expect(await ready(project)).toBe(1);

  worker.signal("SIGCONT");
  await worker.says(/Task shop\.add\[\S+\] succeeded/);
  worker.signal("SIGTERM");
  expect(await worker.finished).toMatchObject({ code: 0 });
});

test.skipIf(onWindows)("with Celery's soft timeout QUIT still lets short tasks finish, and long ones go back", async () => {
  await using project = new Project();
  const worker = await project.worker("--", "worker_soft_shutdown_timeout=2");
  const [short] = [await startNap(project, worker, 1), await startNap(project, worker, 60)];
  worker.signal("SIGQUIT");
  await worker.says(/worker: Soft shutdown \(MainProcess\), SIGQUIT received/);
  const ended = await worker.finished;
  expect(ended.code).toBe(0);
  expect(ended.stderr).toContain(`Task shop.nap[${short}] succeeded`);
  expect(await ready(project)).toBe(1);
});

test.skipIf(onWindows)("REMAP_SIGTERM=SIGQUIT makes TERM a QUIT, and another name is refused", async () => {
  await using project = new Project();
  const worker = project.start(["-A", "src/app", "worker"], { env: { REMAP_SIGTERM: "SIGQUIT" } });
  await worker.says(/ ready\./);
  await startNap(project, worker, 60);
  worker.signal("SIGTERM");
  await worker.says(/worker: Cold shutdown \(MainProcess\), SIGTERM received/);
  expect(await worker.finished).toMatchObject({ code: 0 });
  expect(await ready(project)).toBe(1);
  const wrong = await project.run(["-A", "src/app", "worker"], { env: { REMAP_SIGTERM: "SIGHUP" } });
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('REMAP_SIGTERM is "SIGHUP"') });
});

test.skipIf(onWindows)("a third signal does not wait for a task that keeps the event loop busy", async () => {
  await using project = new Project();
  const worker = await project.worker();
  await project.run(["-A", "src/app", "call", "shop.spin"]);
  await worker.says(/Task shop\.spin\[\S+\] received/);
  for (let count = 0; count < 3; count++) {
    worker.signal("SIGINT");
    await sleep(ANOTHER_SIGNAL_MS);
  }
  const ended = await worker.finished;
  expect(ended).toMatchObject({ code: 0, stderr: expect.stringMatching(/WARNING\/Supervisor\] a worker process did not stop/) });
});

test.skipIf(onWindows)("a warm stop ends in time although the broker is away", async () => {
  await using project = new Project();
  await using redis = await RedisServer.start();
  const worker = await project.worker("-b", redis.url, "--result-backend", redis.url, "--", "shutdown_grace=1");
  const { stdout } = await project.run(["-q", "-b", redis.url, "call", "shop.nap", "-a", "[60]"]);
  await worker.says(new RegExp(`Task shop\\.nap\\[${stdout.trim()}\\] received`));
  redis.pause(); // connected, and silent
  const stoppedAt = performance.now();
  worker.signal("SIGTERM");
  expect(await worker.finished).toMatchObject({ code: 0 });
  const tookMs = performance.now() - stoppedAt;
  redis.resume();
  expect(tookMs).toBeLessThan(1000 + 2000 + 2000 + 3000); // grace, signals, what is given up on the broker's side; a busy machine
});

test("a worker that was told to shut down by remote control is not started again, and the command ends", async () => {
  await using project = new Project();
  await using redis = await RedisServer.start();
  await using app = new Lovage("operator", { brokerUrl: redis.url, env: false, configFile: false });
  const worker = await project.worker("-b", redis.url, "--result-backend", redis.url, "-n", "till@shop");
  await app.control.shutdown({ destination: ["till@shop"] });
  expect(await worker.finished).toMatchObject({
    code: 0,
    stderr: expect.stringContaining("worker process 1 was told to stop, and is not started again"),
  });
});

// --- the first process of a container ------------------------------------------------------------------------------------------

/** Whether a process namespace of our own may be made, as containers have it. */
const mayIsolate = process.platform === "linux" && spawnSync("unshare", ["--pid", "--fork", "--mount-proc", "true"]).status === 0;

const ORPHANS = `
import { spawn } from "node:child_process";
import { Lovage } from "lovage";
export const app = new Lovage("shop");
/** Leaves a process behind that outlives its parent. */
app.task("shop.leave", () => void spawn("sh", ["-c", "sleep 0.1 &"], { stdio: "ignore" }));
app.task("shop.whoami", () => process.ppid);
`;

test.skipIf(!mayIsolate)("as process 1 it stops at TERM with exit code 0, and takes note of its own processes only", async () => {
  await using project = new Project({ "src/orphans.ts": ORPHANS });
  const { LOVAGE_APP: _, ...env } = process.env;
  const outer = spawn("unshare", ["--pid", "--fork", "--mount-proc", process.execPath, bin, "-A", "src/orphans", "worker"], {
    cwd: project.directory,
    env: { ...env, NO_COLOR: "1" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const gone = once(outer, "exit");
  let log = "";
  outer.stderr.on("data", (part: Buffer) => (log += part.toString()));
  const says = (pattern: RegExp): Promise<boolean> => eventually(`it says ${pattern}`, () => pattern.test(log), 30_000);
  try {
    await says(/ ready\./);
    const first = childrenOf(outer.pid as number)[0] as number;
    const call = ["-q", "-A", "src/orphans", "call", "--wait", "--timeout", "20"];
    expect((await project.run([...call, "shop.whoami"])).stdout).toBe("1\n"); // its parent is the first process

    process.kill(childrenOf(first)[0] as number, "SIGKILL");
    await says(/worker process 1 ended \(SIGKILL\)[^]* ready\./);
    expect(await countZombies(first)).toBe(0);

    await project.run([...call, "shop.leave"]);
    await eventually("a zombie", async () => (await countZombies(first)) === 1); // as docs/shutdown.md says: an init is needed for these

    process.kill(first, "SIGTERM");
    expect(await gone).toEqual([0, null]);
    expect(log).toMatch(/Warm shutdown/);
  } finally {
    if (outer.exitCode === null) for (const pid of childrenOf(outer.pid as number)) process.kill(pid, "SIGKILL");
    await gone;
  }
});

function childrenOf(parent: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => parentOf(name) === parent)
    .map(Number);
}

function parentOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined; // gone meanwhile
  }
}
