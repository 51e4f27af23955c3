/** A user's project in a temporary directory, and the built command run in it as a user would. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The same signal within half a second counts once. */
export const ANOTHER_SIGNAL_MS = 550;

const packageRoot = fileURLToPath(new URL("../../../", import.meta.url));
export const bin = join(packageRoot, "dist/cli/main.js");

const APP = `
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";

export const app = new Lovage("shop");
export const add = app.task("shop.add", (x: number, y: number) => x + y);
export const echo = app.task("shop.echo", (value: unknown) => value);
export const boom = app.task("shop.boom", () => { throw new TypeError("no such thing"); });
export const nap = app.task("shop.nap", async (seconds: number) => { await sleep(seconds * 1000); return "rested"; });
export const forget = app.task("shop.forget", () => { void Promise.reject(new Error("nobody waits for me")); return "done"; });
export const crash = app.task("shop.crash", async () => { setTimeout(() => { throw new Error("outside of any task"); }); await sleep(60_000); });
export const spin = app.task("shop.spin", () => { for (;;); });
export const whoami = app.task("shop.whoami", () => ({ pid: process.pid, plan: process.env["LOVAGE_WORKER_PLAN"] ?? null }));
`;

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
}

export class Project implements AsyncDisposable {
  readonly directory = realpathSync(mkdtempSync(join(tmpdir(), "lovage-cli-")));
  readonly #running = new Set<Running>();

  constructor(files: Readonly<Record<string, string>> = {}) {
    this.write("package.json", JSON.stringify({ name: "shop", type: "module" }));
    this.write("src/app.ts", APP);
    for (const [path, text] of Object.entries(files)) this.write(path, text);
    mkdirSync(join(this.directory, "node_modules"));
    symlinkSync(packageRoot, join(this.directory, "node_modules/lovage"));
  }

  write(path: string, text: string): void {
    const file = join(this.directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  start(argv: readonly string[], options: RunOptions = {}): Running {
    const running = new Running(argv, this.directory, options);
    this.#running.add(running);
    return running;
  }

  run(argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.start(argv, options).finished;
  }

  /** Started with the project's own app, and consuming. */
  async worker(...argv: readonly string[]): Promise<Running> {
    const running = this.start(["-A", "src/app", "worker", ...argv]);
    await running.says(/ ready\./);
    return running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running) await running.end();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export class Running {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  stdout = "";
  stderr = "";
  readonly #watchers = new Set<() => void>();

  constructor(argv: readonly string[], directory: string, { env = {}, cwd = directory, input = "" }: RunOptions) {
    const clean = { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "" };
    this.process = spawn(process.execPath, [bin, ...argv], { cwd, env: { ...clean, ...env }, stdio: "pipe" });
    this.process.stdin?.end(input);
    this.process.stdout?.on("data", (part: Buffer) => this.#hear("stdout", part));
    this.process.stderr?.on("data", (part: Buffer) => this.#hear("stderr", part));
    this.finished = once(this.process, "close").then(([code]) => {
      for (const tell of this.#watchers) tell();
      return { code: code as number | null, stdout: this.stdout, stderr: this.stderr };
    });
  }

  #hear(stream: "stdout" | "stderr", part: Buffer): void {
    this[stream] += part.toString();
    for (const tell of this.#watchers) tell();
  }

  /** Resolves when what it has written, from `from` on, holds the pattern; rejects when it ends before. */
  says(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = pattern.exec(this.stderr.slice(from)) ?? pattern.exec(this.stdout);
        const isOver = this.process.exitCode !== null || this.process.signalCode !== null;
        if (!found && !isOver) return;
        this.#watchers.delete(look);
        if (found) resolve(found);
        else
          reject(
            new Error(
              `it ended with ${this.process.exitCode ?? this.process.signalCode} and never said ${pattern}:\n${this.stdout}${this.stderr}`,
            ),
          );
      };
      this.#watchers.add(look);
      look();
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  async end(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill("SIGQUIT");
    await this.finished;
  }
}

/** A port of this machine at which nobody listens. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
