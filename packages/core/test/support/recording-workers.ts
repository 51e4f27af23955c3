/** Starts and ends worker processes that write down what they execute, and reads what they wrote. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { WorkerStatus } from "lovage/worker";
import { eventually } from "./eventually.ts";

const PROGRAM = "recording-worker.mjs";
/** A record may be long: it is not looked at more often. */
const RECORD_EVERY_MS = 50;

export interface RecordingSettings {
  readonly broker: string;
  readonly backend?: string;
  readonly concurrency?: number;
  /** Further settings of the app, such as `leaseTime`. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Another program beside `recording-worker.mjs` that works as `recording-process.mjs` does. */
  readonly program?: string;
  /** Options for `node`. */
  readonly execArgv?: readonly string[];
}

type Said =
  | { readonly kind: "ready" | "stopped" }
  | { readonly kind: "running"; readonly index: number }
  | { readonly kind: "status"; readonly status: WorkerStatus }
  | { readonly kind: "memory"; readonly heapUsed: number; readonly rss: number; readonly peak: number; readonly cpuS: number }
  | { readonly kind: "log"; readonly level: string; readonly message: string; readonly error?: string };

export class RecordingWorkers implements AsyncDisposable {
  /** Warnings and errors of all workers. */
  readonly log: string[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), "lovage-record-"));
  readonly #file = join(this.directory, "record");
  readonly #settings: RecordingSettings;
  readonly #all = new Set<RecordingWorker>();

  constructor(settings: RecordingSettings) {
    this.#settings = settings;
  }

  /** Resolves when it consumes. */
  async start(): Promise<RecordingWorker> {
    const { broker, backend, concurrency, settings, program = PROGRAM, execArgv = [] } = this.#settings;
    const env = {
      ...process.env,
      TEST_BROKER: broker,
      ...(backend === undefined ? {} : { TEST_BACKEND: backend }),
      ...(concurrency === undefined ? {} : { TEST_CONCURRENCY: String(concurrency) }),
      TEST_RECORD: this.#file,
      TEST_SETTINGS: JSON.stringify(settings ?? {}),
    };
    const worker = new RecordingWorker(
      fork(fileURLToPath(new URL(program, import.meta.url)), [], { env, execArgv: [...execArgv] }),
      (line) => this.log.push(line),
    );
    this.#all.add(worker);
    worker.gone.then(
      () => this.#all.delete(worker),
      () => undefined,
    );
    await worker.said("ready");
    return worker;
  }

  get alive(): RecordingWorker[] {
    return [...this.#all];
  }

  /** Lines in the order in which they were written. */
  lines(): string[] {
    try {
      return readFileSync(this.#file, "utf8").split("\n").slice(0, -1);
    } catch {
      return [];
    }
  }

  /** Resolves when so many different tasks were executed; rejects, saying which are missing, when that takes too long. */
  async executed(count: number, withinMs: number): Promise<void> {
    const record = new RecordReader(this.#file);
    const seen = new Set<string>();
    const hasAll = (): boolean => {
      for (const line of record.next()) seen.add(line);
      return seen.size >= count;
    };
    await eventually(`${count} tasks are executed`, hasAll, withinMs, RECORD_EVERY_MS).catch((error: Error) => {
      throw new Error(`${error.message}: ${seen.size} were\n${this.log.slice(-20).join("\n")}`);
    });
  }

  /** Resolves when a warning or an error of that kind was logged. */
  async logged(pattern: RegExp, withinMs = 60_000): Promise<void> {
    await eventually(`${pattern} is logged`, () => this.log.some((line) => pattern.test(line)), withinMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.alive.map((worker) => worker.end("SIGKILL")));
    rmSync(this.directory, { recursive: true, force: true });
    const unhandled = this.log.find((line) => line.includes("unhandled rejection"));
    if (unhandled !== undefined) throw new Error(unhandled);
  }
}

/** Reads what was written since it read last: a long run's record is too large to be read anew each time. */
class RecordReader {
  readonly #file: string;
  #offset = 0;
  #rest = "";

  constructor(file: string) {
    this.#file = file;
  }

  next(): string[] {
    const fd = openSync(this.#file, "a+");
    try {
      const part = Buffer.alloc(1 << 20);
      const lines: string[] = [];
      for (let size = 1; size > 0;) {
        size = readSync(fd, part, 0, part.length, this.#offset);
        this.#offset += size;
        const found = (this.#rest + part.toString("latin1", 0, size)).split("\n");
        this.#rest = found.pop() as string;
        for (const line of found) lines.push(line); // a spread of very many is no call
      }
      return lines;
    } finally {
      closeSync(fd);
    }
  }
}

export class RecordingWorker {
  readonly process: ChildProcess;
  readonly gone: Promise<void>;
  readonly #heard: Said[] = [];
  readonly #waiting = new Set<{ matches(said: Said): boolean; resolve(said: Said): void; reject(error: Error): void }>();

  constructor(child: ChildProcess, log: (line: string) => void) {
    this.process = child;
    this.gone = once(child, "exit").then(([code, signal]) => {
      for (const waiting of this.#waiting) waiting.reject(new Error(`the worker process ended: ${signal ?? code}`));
    });
    child.on("message", (said: Said) => {
      if (said.kind === "log") log(`${said.level} ${child.pid} ${said.message}${said.error ? `\n${said.error}` : ""}`);
      else this.#heard.push(said);
      for (const waiting of this.#waiting) if (waiting.matches(said)) waiting.resolve(said);
    });
  }

  /** The next message of that kind, or the first one if it was said already. */
  async said<Kind extends Said["kind"]>(kind: Kind): Promise<Extract<Said, { kind: Kind }>> {
    const earlier = this.#heard.findIndex((said) => said.kind === kind);
    if (earlier >= 0) return this.#heard.splice(earlier, 1)[0] as Extract<Said, { kind: Kind }>;
    const said = await new Promise<Said>((resolve, reject) => {
      const waiting = {
        matches: (each: Said) => each.kind === kind,
        resolve: (each: Said) => {
          this.#waiting.delete(waiting);
          const at = this.#heard.indexOf(each);
          if (at >= 0) this.#heard.splice(at, 1); // what was said after it is for whoever asks next
          resolve(each);
        },
        reject,
      };
      this.#waiting.add(waiting);
    });
    return said as Extract<Said, { kind: Kind }>;
  }

  async status(): Promise<WorkerStatus> {
    this.process.send("status");
    return (await this.said("status")).status;
  }

  /** After a forced collection. */
  async memory(): Promise<{ readonly heapUsed: number; readonly rss: number; readonly peak: number; readonly cpuS: number }> {
    this.process.send("memory");
    return this.said("memory");
  }

  /** Resolves when its status is as asked. */
  async whenStatus(isAsAsked: (status: WorkerStatus) => boolean, withinMs = 120_000): Promise<void> {
    let last: WorkerStatus | undefined;
    const look = async (): Promise<boolean> => isAsAsked((last = await this.status()));
    await eventually("a status as asked", look, withinMs, 20).catch((error: Error) => {
      throw new Error(`${error.message}: it is ${JSON.stringify(last)}`);
    });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.process.kill(signal);
    await this.gone;
  }
}
