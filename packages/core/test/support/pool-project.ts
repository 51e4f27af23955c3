/** A user's app in a temporary directory, and workers that run it in their pools. */
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Lovage, type SettingsInput } from "lovage";
import type { WorkerOptions, WorkerStatus } from "lovage/worker";
import { eventually } from "./eventually.ts";

const PROGRAM = fileURLToPath(new URL("./pool-worker.mjs", import.meta.url));
const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));

const TASKS = `
import { appendFileSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { threadId } from "node:worker_threads";
import { currentTask, Lovage } from "lovage";

export const app = new Lovage("pools", JSON.parse(process.env.TEST_SETTINGS));
const note = (text) => appendFileSync(process.env.TEST_NOTES, text + "\\n");
const busy = (ms) => { for (const end = performance.now() + ms; performance.now() < end; ); };

app.onChildStart(() => note("start " + process.pid + "/" + threadId));
app.onChildStop(() => note("stop " + process.pid + "/" + threadId));
app.task("add", (a, b) => a + b);
app.task("where", async (ms) => { await wait(ms); return process.pid + "/" + threadId; });
app.task("spin", { timeLimit: 2 }, () => { note("spin " + process.pid); for (;;); });
app.task("block", (ms) => { note("block " + process.pid); busy(ms); return ms; });
app.task("die", () => { note("die"); process.kill(process.pid, "SIGKILL"); });
app.task("exit", () => { note("exit"); process.exit(7); });
app.task("dieOnce", (mark) => { note(mark); if (!currentTask().delivery.redelivered) process.exit(7); return "alive"; });
app.task("stray", async () => { setTimeout(() => { throw new Error("a stray error"); }); await wait(60_000); });
app.task("paced", async (index, ms) => { await wait(ms); note("paced " + index); });
app.task("record", (index) => { note("record " + index); return index; });
app.task({
  name: "soft",
  softTimeLimit: 0.3,
  async run(ctx) {
    try {
      await wait(60_000, undefined, { signal: ctx.signal });
    } catch {
      return ctx.signal.reason.name + " cleaned up";
    }
  },
});
app.task({ name: "reason", async run(ctx) { await new Promise((done) => ctx.signal.addEventListener("abort", done)); note(ctx.signal.reason.name); return ctx.signal.reason.name; } });
app.task({
  name: "talk",
  async run(ctx, word) {
    await ctx.progress(1, 2, { word });
    currentTask().log.warn({ word }, "said " + word);
    const child = await app.sendTask("add", [2, 3]);
    return { child: child.id, children: ctx.children.length, hostname: ctx.hostname, retries: ctx.retries, headers: ctx.headers };
  },
});
app.task("boom", () => { throw Object.assign(new RangeError("too far"), { own: 1 }); });
app.task({ name: "flaky", retry: { for: [TypeError], maxRetries: 2, backoff: { kind: "fixed", delay: 0.05 } }, run(ctx) { if (ctx.retries < 2) throw new TypeError("not yet"); return ctx.retries; } });
app.task({ name: "snoozes", run(ctx, times) { note("snoozes " + ctx.retries + " " + process.pid); const had = noteCount("snoozes"); if (had <= times) ctx.snooze(0.05); return [ctx.retries, had]; } });
class Busy extends Error { constructor(after) { super("busy"); this.after = after; } }
app.task({
  name: "asWeighed",
  retry: { for: [(error) => error instanceof Busy], except: [RangeError], maxRetries: 2, backoff: (error, attempt) => error.after * attempt },
  run(ctx, kind) {
    note("asWeighed " + kind + " " + ctx.retries);
    if (kind === "range") throw new RangeError("never again");
    if (kind === "busy" || ctx.retries < 1) throw new Busy(0.05);
    return ctx.retries;
  },
});
app.task({ name: "hooked", onSuccess: (value) => note("onSuccess " + value + " " + process.pid + "/" + threadId), run: () => process.pid + "/" + threadId });
app.task("echo", (value) => value);
app.task("isBuffer", (value) => Buffer.isBuffer(value));
app.task("unclonable", () => ({ f: () => 1 }));
const noteCount = (word) => readFileSync(process.env.TEST_NOTES, "utf8").split("\\n").filter((line) => line.startsWith(word + " ")).length;
const hoard = [];
app.task("grow", (mib) => { hoard.push(Buffer.alloc(mib * 1024 * 1024, 1)); return process.pid + "/" + threadId; });
app.task({ name: "inThread", pool: "threads", async run(ctx, ms) { await wait(ms); return process.pid + "/" + threadId; } });
app.task({ name: "inProcess", pool: "processes", run: () => process.pid });
`;

type Said =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly code: string; readonly message: string }
  | { readonly kind: "status"; readonly status: WorkerStatus }
  | { readonly kind: "log"; readonly line: string };

export class PoolProject implements AsyncDisposable {
  readonly directory = realpathSync(mkdtempSync(join(tmpdir(), "lovage-pools-")));
  /** Sends to the workers of this project. */
  readonly client: Lovage;
  readonly #settings: SettingsInput;
  readonly #notes = join(this.directory, "notes");
  readonly #workers: PoolWorker[] = [];

  constructor(url: string, settings: SettingsInput = {}) {
    this.#settings = { brokerUrl: url, resultBackend: url, ...settings };
    this.client = new Lovage("client", { ...this.#settings, env: false, configFile: false });
    this.write("package.json", JSON.stringify({ name: "pools", type: "module" }));
    this.write("app.mjs", TASKS);
    this.write("notes", "");
    mkdirSync(join(this.directory, "node_modules"));
    symlinkSync(PACKAGE, join(this.directory, "node_modules/lovage"));
  }

  /** Of the app module. */
  get source(): string {
    return TASKS;
  }

  write(path: string, text: string): void {
    const file = join(this.directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  /** Resolves when it consumes; rejects with what it said when it cannot. */
  async start(pool: string, options: WorkerOptions = {}, settings: SettingsInput = {}): Promise<PoolWorker> {
    const env = {
      ...process.env,
      TEST_APP: join(this.directory, "app.mjs"),
      TEST_NOTES: this.#notes,
      TEST_SETTINGS: JSON.stringify({ ...this.#settings, workerPool: pool, configFile: false, ...settings }),
      TEST_OPTIONS: JSON.stringify({ concurrency: 2, ...options }),
    };
    const worker = new PoolWorker(fork(PROGRAM, [], { env, execArgv: [] }));
    this.#workers.push(worker);
    await worker.isReady();
    return worker;
  }

  /** What tasks and hooks wrote down. */
  notes(): string[] {
    return readFileSync(this.#notes, "utf8").split("\n").slice(0, -1);
  }

  async noted(pattern: RegExp, withinMs?: number): Promise<string> {
    return await eventually(`a note like ${pattern}`, () => this.notes().find((note) => pattern.test(note)), withinMs);
  }

  async call<T = unknown>(name: string, ...args: readonly unknown[]): Promise<T> {
    return await (await this.client.sendTask<T>(name, args)).get({ timeout: 30 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers) await worker.kill();
    await this.client.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export class PoolWorker {
  readonly process: ChildProcess;
  readonly log: string[] = [];
  #isReady = false;
  #failed: Extract<Said, { kind: "failed" }> | undefined;
  #status: WorkerStatus | undefined;

  constructor(child: ChildProcess) {
    this.process = child;
    child.on("message", (said: Said) => {
      if (said.kind === "ready") this.#isReady = true;
      else if (said.kind === "failed") this.#failed = said;
      else if (said.kind === "status") this.#status = said.status;
      else this.log.push(said.line);
    });
  }

  get failure(): string | undefined {
    return this.#failed?.message;
  }

  async isReady(): Promise<void> {
    await eventually("the worker is ready", () => {
      if (this.#failed) throw new Error(this.#failed.message);
      return this.#isReady;
    });
  }

  async status(): Promise<WorkerStatus> {
    this.#status = undefined;
    this.process.send({ kind: "status" });
    return await eventually("the worker tells its status", () => this.#status);
  }

  resize(slots: number): void {
    this.process.send({ kind: "resize", slots });
  }

  /** And terminates it if it runs. */
  revoke(taskId: string): void {
    this.process.send({ kind: "revoke", taskId });
  }

  async whenSlots(slots: number, withinMs?: number): Promise<void> {
    await eventually(`the worker has ${slots} slots`, async () => (await this.status()).slots === slots, withinMs);
  }

  /** Processes below it, those of its pools. */
  children(): number[] {
    return childrenOf(this.process.pid as number);
  }

  async stop(how: "warm" | "cold" = "warm"): Promise<number | null> {
    const exited = once(this.process, "exit");
    this.process.send({ kind: "stop", how });
    const [code] = (await exited) as [number | null];
    return code;
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await exited;
  }
}

function childrenOf(pid: number): number[] {
  const table = execFileSync("ps", ["-e", "-o", "pid=,ppid="], { encoding: "utf8" });
  return table.split("\n").flatMap((line) => {
    const [child, parent] = line.trim().split(/\s+/).map(Number);
    return parent === pid && child !== undefined && isAlive(child) ? [child] : [];
  });
}

/** A process that has ended and was not waited for yet is not alive. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
