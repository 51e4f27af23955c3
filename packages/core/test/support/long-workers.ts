/** Processes that run `long-worker.mjs`, and what they wrote down. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Lovage, type SettingsInput } from "lovage";

const PROGRAM = fileURLToPath(new URL("./long-worker.mjs", import.meta.url));

export class LongWorkers implements AsyncDisposable {
  readonly client: Lovage;
  readonly #directory = mkdtempSync(join(tmpdir(), "lovage-long-"));
  readonly #record = join(this.#directory, "record");
  readonly #alive = new Set<ChildProcess>();
  readonly #env: NodeJS.ProcessEnv;

  constructor(url: string, settings: SettingsInput = {}) {
    writeFileSync(this.#record, "");
    this.client = new Lovage("long-client", { brokerUrl: url, resultBackend: url, env: false, configFile: false });
    const own = { TEST_BROKER: url, TEST_RECORD: this.#record, TEST_SETTINGS: JSON.stringify(settings) };
    this.#env = { ...process.env, ...own };
  }

  /** Resolves when it consumes. */
  async start(): Promise<ChildProcess> {
    const worker = fork(PROGRAM, [], { env: this.#env, execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
    this.#alive.add(worker);
    worker.once("exit", () => this.#alive.delete(worker));
    const failed = once(worker, "exit").then(([code]) => {
      throw new Error(`a worker ended with ${String(code)} before it was ready`);
    });
    failed.catch(() => undefined);
    await Promise.race([once(worker, "message"), failed]);
    return worker;
  }

  /** Resolves when the process is gone. */
  async end(worker: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    if (worker.exitCode !== null || worker.signalCode !== null) return;
    const exit = once(worker, "exit");
    worker.kill(signal);
    await exit;
  }

  /** The numbers that were written down under a word, in order. */
  noted(word: string): number[] {
    const lines = readFileSync(this.#record, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => line.split(" ")).flatMap(([kind, number]) => (kind === word ? [Number(number)] : []));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#alive].map(async (worker) => await this.end(worker, "SIGKILL")));
    await this.client.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
