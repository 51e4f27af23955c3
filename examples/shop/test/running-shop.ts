/** The shop as a user starts it, in a folder of its own, on free ports. Disposing it ends it and checks that nothing is left. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const start = fileURLToPath(new URL("../start.mjs", import.meta.url));

export class RunningShop implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly folder: string;
  /** All that it and its children have written. */
  output = "";
  readonly #listeners = new Set<() => void>();
  /** Resolves with the exit code once it and every process that shares its output has ended. */
  readonly ended: Promise<number | null>;

  private constructor(folder: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    this.folder = folder;
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CELERY|SHOP|NODE_ENV|VITEST)/.test(name)));
    const own = {
      CELERY_BROKER_URL: `sqlite://${folder}/broker.db`,
      SHOP_DATA: join(folder, "data"),
      SHOP_PORT: "0",
    };
    this.process = spawn(process.execPath, [start, ...args], { env: { ...clean, ...own, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        for (const listener of this.#listeners) listener();
      });
    }
    // "close" and not "exit": it comes when the last process that holds the pipes is gone.
    this.ended = once(this.process, "close").then(([code]) => code as number | null);
  }

  static async start(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<RunningShop> {
    return new RunningShop(await mkdtemp(join(tmpdir(), "lovage-shop-")), args, env);
  }

  /** Resolves with the match as soon as the output has it. Rejects when the shop ends first. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    const found = new Promise<RegExpExecArray>((resolve) => {
      const look = () => {
        const match = pattern.exec(this.output);
        if (!match) return;
        this.#listeners.delete(look);
        resolve(match);
      };
      this.#listeners.add(look);
      look();
    });
    const ended = this.ended.then((code) => {
      throw new Error(`the shop ended with ${code} before it printed ${pattern}:\n${this.output}`);
    });
    return Promise.race([found, ended]);
  }

  /** Ctrl+C. */
  async stop(): Promise<number | null> {
    this.process.kill("SIGINT");
    return this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
