/** Child processes that live and end together with this one. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
const PATIENCE_MS = 30_000;

export class Children {
  readonly #running = new Map<string, ChildProcess>();
  readonly #env: Record<string, string | undefined> = { ...process.env };
  #stopping = false;
  readonly #signal: AbortSignal;
  readonly #onLost: (what: string) => void;

  /** `signal` ends waiting for a start; `onLost` is told when one ends by itself. */
  constructor(signal: AbortSignal, onLost: (what: string) => void) {
    this.#signal = signal;
    this.#onLost = onLost;
  }

  /** A variable for those that are started from now on. */
  setVariable(name: string, value: string): void {
    this.#env[name] = value;
  }

  /** Starts a file of `src` that calls `serve()`. Resolves with its address. */
  async startServer(name: string, file: string): Promise<string> {
    const child = this.#start(name, ["run.mjs", file]);
    const [message] = (await once(child, "message", { signal: this.#signal })) as [{ url: string }];
    return message.url;
  }

  /** Starts `lovage -A src/app.ts worker ...`, without its banner. */
  startWorker(name: string, options: readonly string[]): void {
    const manifest = createRequire(import.meta.url).resolve("lovage/package.json");
    const cli = join(dirname(manifest), "dist/cli/main.js");
    this.#start(name, [cli, "--quiet", "-A", "src/app.ts", "worker", ...options]);
  }

  /** Asks all of them to stop, which workers do after what they are running, and waits until they have. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#running.values()].map(stopOne));
  }

  #start(name: string, args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, args, { cwd: folder, env: this.#env, stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#running.set(name, child);
    child.once("exit", (code, signal) => {
      this.#running.delete(name);
      if (!this.#stopping) this.#onLost(`${name} has ended by itself (${signal ?? `exit code ${code}`})`);
    });
    return child;
  }
}

async function stopOne(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const tooLate = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  await ended;
  clearTimeout(tooLate);
}
