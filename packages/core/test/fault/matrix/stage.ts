/** What a cell of the crash matrix plays on: two workers, a producer that never pauses, and an account of what became of each task. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { eventually } from "../../support/eventually.ts";
import { Lovage, PublishFailedError, type SettingsInput } from "lovage";

const APP = fileURLToPath(new URL("./app.mjs", import.meta.url));
const PROGRAM = fileURLToPath(new URL("../../support/pool-worker.mjs", import.meta.url));

export const LEASE_MS = 1000;
export const SLOTS = 4;
const TASK_MS = 60;
const EVERY_MS = 50;
const AT_ONCE = 5;

export interface StageOptions {
  readonly task: string;
  /** For the producer; a worker may be given another way to the same broker. */
  readonly url: string;
  readonly settings?: SettingsInput;
  readonly pool: "async" | "processes";
  /** Tasks throw after they have ended. */
  readonly fails: boolean;
}

interface Note {
  readonly what: "began" | "ended";
  readonly index: number;
  readonly worker: string;
  readonly pid: number;
  readonly at: number;
}

export class Stage implements AsyncDisposable {
  readonly #options: StageOptions;
  readonly #directory = mkdtempSync(join(tmpdir(), "lovage-matrix-"));
  readonly #record = join(this.#directory, "record");
  readonly #settings: SettingsInput;
  readonly #client: Lovage;
  readonly #workers: ChildProcess[] = [];
  /** Tasks that the broker said it holds, by index: their ids. */
  readonly #held = new Map<number, string>();
  readonly #refused = new Set<number>();
  readonly #unknown = new Set<number>();
  #next = 0;
  #publishing: Promise<void> = Promise.resolve();
  #isPublishing = true;

  constructor(options: StageOptions) {
    this.#options = options;
    writeFileSync(this.#record, "");
    this.#settings = {
      brokerUrl: options.url,
      resultBackend: options.url,
      leaseTime: LEASE_MS / 1000,
      publishTimeout: 1,
      maxDeliveries: 5,
      brokerConnectionMaxRetries: null,
      ...options.settings,
    };
    const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
    this.#client = new Lovage("producer", { ...this.#settings, env: false, configFile: false, logger: silent });
  }

  /** Resolves with its process once it consumes. */
  async startWorker(url = this.#options.url): Promise<ChildProcess> {
    const name = `w${this.#workers.length}`;
    const env = {
      ...process.env,
      TEST_APP: APP,
      TEST_RECORD: this.#record,
      TEST_WORKER: name,
      TEST_SETTINGS: JSON.stringify({ ...this.#settings, brokerUrl: url, resultBackend: url, workerPool: this.#options.pool }),
      TEST_OPTIONS: JSON.stringify({ concurrency: SLOTS, name: `${name}@matrix` }),
    };
    const worker = fork(PROGRAM, [], { env, execArgv: [], stdio: ["ignore", "ignore", "ignore", "ipc"] });
    this.#workers.push(worker);
    await new Promise<void>((resolve, reject) => {
      worker.on("message", (said: { kind: string; message?: string }) => {
        if (said.kind === "ready") resolve();
        if (said.kind === "failed") reject(new Error(`the worker cannot start: ${said.message}`));
      });
      worker.once("exit", () => reject(new Error("the worker ended")));
    });
    return worker;
  }

  startPublishing(): void {
    this.#publishing = (async () => {
      while (this.#isPublishing) {
        void this.#publish();
        await wait(EVERY_MS);
      }
    })();
  }

  async #publish(): Promise<void> {
    const indexes = Array.from({ length: AT_ONCE }, () => this.#next++);
    const { task, fails } = this.#options;
    const calls = indexes.map((index) => ({ name: task, args: [index, TASK_MS, fails], options: { taskId: `matrix-${index}` } }));
    for (const index of indexes) this.#unknown.add(index);
    try {
      await this.#client.publishMany(calls);
      for (const index of indexes) this.#told(index, "held");
    } catch (error) {
      if (!(error instanceof PublishFailedError)) throw error;
      for (const [i, index] of indexes.entries()) this.#told(index, error.calls[i]?.fate ?? "unknown");
    }
  }

  #told(index: number, fate: string): void {
    if (fate === "unknown") return;
    this.#unknown.delete(index);
    if (fate === "held") this.#held.set(index, `matrix-${index}`);
    else this.#refused.add(index);
  }

  notes(): readonly Note[] {
    return readFileSync(this.#record, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => {
        const [what, index, worker, pid, at] = line.split(" ");
        return { what, index: Number(index), worker, pid: Number(pid), at: Number(at) } as Note; // app.mjs writes nothing else
      });
  }

  /** Resolves when `enough` says so of what was written down. */
  async noted(enough: (notes: readonly Note[]) => boolean, withinMs = 20_000): Promise<void> {
    await eventually("what a cell of the matrix waits for", () => enough(this.notes()), withinMs, 20);
  }

  /** Ends publishing and waits until each held task has ended, or until nothing more has happened for `quietMs`. */
  async drain(quietMs: number, isExpectedToLose: boolean): Promise<void> {
    this.#isPublishing = false;
    await this.#publishing;
    let count = -1;
    let since = performance.now();
    for (;;) {
      const notes = this.notes();
      if (notes.length !== count) {
        count = notes.length;
        since = performance.now();
      }
      const ended = new Set(notes.flatMap(({ what, index }) => (what === "ended" ? [index] : [])));
      const isDone = [...this.#held.keys()].every((index) => ended.has(index));
      const quiet = performance.now() - since;
      if ((isDone && quiet > LEASE_MS) || (isExpectedToLose && quiet > quietMs) || quiet > 15_000) return;
      await wait(50);
    }
  }

  /** What became of what the broker said that it holds. `strikes`: the pids or workers that were struck, and when. */
  account(struckAt: number, overAt: number, victim: ((note: Note) => boolean) | undefined): Account {
    const notes = this.notes();
    const begins = new Map<number, Note[]>();
    const ends = new Map<number, Note[]>();
    for (const each of notes) {
      const map = each.what === "began" ? begins : ends;
      map.set(each.index, [...(map.get(each.index) ?? []), each]);
    }
    const held = [...this.#held.keys()];
    const lost = held.filter((index) => !ends.has(index));
    const repeated = [...begins.values()].filter((all) => all.length > 1).length;
    const ranAlthoughRefused = [...this.#refused].filter((index) => begins.has(index)).length;
    const cutShort = notes.filter(
      (each) =>
        each.what === "began" &&
        victim?.(each) === true &&
        each.at <= struckAt + 20 &&
        !ends.get(each.index)?.some((end) => end.pid === each.pid && end.at <= struckAt),
    );
    const again = cutShort.flatMap(({ index, pid }) => begins.get(index)?.find((each) => each.pid !== pid && each.at > struckAt)?.at ?? []);
    const next = notes.find(({ what, at }) => what === "began" && at > overAt)?.at;
    const recoveredAt = victim === undefined ? next : again.length > 0 ? Math.max(...again) : undefined;
    return {
      accepted: held.length,
      refused: this.#refused.size,
      unknown: this.#unknown.size,
      lost: lost.length,
      repeated,
      ranAlthoughRefused,
      recoveryMs: recoveredAt === undefined ? undefined : Math.max(0, recoveredAt - (victim === undefined ? overAt : struckAt)),
    };
  }

  /** States of results of accepted tasks, by how many. */
  async states(): Promise<Readonly<Record<string, number>>> {
    const backend = await this.#client.backend();
    const documents = (await backend?.fetch([...this.#held.values()])) ?? [];
    const counts: Record<string, number> = {};
    for (const document of documents) {
      const state = document === undefined ? "none" : (JSON.parse(String(document)) as { status: string }).status;
      counts[state] = (counts[state] ?? 0) + 1;
    }
    return counts;
  }

  async dead(): Promise<number> {
    const [depth] = await (await this.#client.broker()).depth(["celery"]);
    return depth?.dead ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isPublishing = false;
    await this.#publishing;
    await Promise.all(this.#workers.map(end));
    await this.#client.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function end(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  const gone = once(worker, "exit");
  worker.kill("SIGKILL");
  await gone;
}

export interface Account {
  readonly accepted: number;
  readonly refused: number;
  readonly unknown: number;
  /** Accepted, and never ended. */
  readonly lost: number;
  /** Tasks that began more than once. */
  readonly repeated: number;
  readonly ranAlthoughRefused: number;
  /** Of what was cut short: until the last of it began again. Of an outage: from its end until the next task begins. */
  readonly recoveryMs: number | undefined;
}
