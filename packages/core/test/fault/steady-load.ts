/**
 * Workers under a steady load, and what can be said of it afterwards: nothing that a broker held is lost, nothing that it refused
 * was run, and what was run twice.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage, type LovageOptions, PublishFailedError } from "lovage";
import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";

export interface LoadSettings {
  readonly broker: string;
  readonly workers: number;
  /** Of both producer and workers. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Eight calls every so many ms. Default 50: a third of what two workers can do. */
  readonly everyMs?: number;
}

export interface Tally {
  /** Publishes that were reported as held. */
  readonly held: number;
  readonly refused: number;
  readonly unknown: number;
  /** Held and never run. */
  readonly lost: readonly string[];
  /** Refused and run all the same. */
  readonly ghosts: readonly string[];
  /** Run more than once. */
  readonly repeated: readonly string[];
}

const TASK_MS = 20;
const CONCURRENCY = 5;
const BATCH = 8;
const EVERY_MS = 50;
const LOOK_EVERY_MS = 50;

export class SteadyLoad implements AsyncDisposable {
  readonly workers: RecordingWorkers;
  readonly #appSettings: LovageOptions;
  readonly #app: Lovage;
  readonly #everyMs: number;
  readonly #fates = new Map<string, "held" | "refused" | "unknown">();
  readonly #underWay = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #publishing: Promise<void> = Promise.resolve();
  #next = 0;

  private constructor({ broker, settings, everyMs }: LoadSettings) {
    this.#everyMs = everyMs ?? EVERY_MS;
    this.workers = new RecordingWorkers({ broker, concurrency: CONCURRENCY, settings: settings ?? {} });
    this.#appSettings = {
      brokerUrl: broker,
      resultBackend: "disabled://",
      env: false,
      configFile: false,
      logger: silent,
      ...settings,
    };
    this.#app = new Lovage("load", this.#appSettings);
  }

  /** Resolves when all workers consume and have run something. */
  static async start(settings: LoadSettings): Promise<SteadyLoad> {
    const load = new SteadyLoad(settings);
    for (let i = 0; i < settings.workers; i += 1) await load.workers.start();
    load.#publishing = load.#publish();
    await load.everyWorkerRuns(30_000);
    return load;
  }

  /** One call, beside the load. */
  async call(ms: number): Promise<void> {
    await this.#call(ms);
  }

  /** A producer that knows nothing of what was publishes now: resolves with how long it took until its task had run. */
  async strangerIsServed(withinMs: number): Promise<number> {
    const from = performance.now();
    await using app = new Lovage("stranger", this.#appSettings);
    const id = `stranger${this.#next++}`;
    const sending = (async () => {
      while (performance.now() - from < withinMs) {
        try {
          return await app.sendTask("test.record", [id, 0]);
        } catch (error) {
          if (!(error instanceof PublishFailedError)) throw error;
          if (error.calls[0]?.fate !== "refused") return undefined; // it may be there
        }
      }
      return undefined;
    })();
    await eventually("the stranger's task has run", () => this.workers.lines().includes(id), withinMs, 20).catch(this.#withLog);
    const tookMs = performance.now() - from;
    await sending;
    return tookMs;
  }

  /** Resolves when the broker has said of so many calls more that it holds them. */
  async holds(more: number): Promise<void> {
    const held = (): number => [...this.#fates.values()].filter((fate) => fate === "held").length;
    const enough = held() + more;
    await eventually(`${more} more calls are held`, () => held() >= enough, 30_000).catch(this.#withLog);
  }

  /** Resolves with how long it took until each worker had run a task that it began later than now. */
  async everyWorkerRuns(withinMs: number): Promise<number> {
    const from = performance.now();
    const before = new Map(
      await Promise.all(this.workers.alive.map(async (worker) => [worker, (await worker.status()).processed] as const)),
    );
    const took = await Promise.all(
      Array.from(before, async ([worker, processed]) => {
        // What was lent before has ended by then, as far as there were slots for it.
        await worker.whenStatus((now) => now.consuming && now.processed > processed + CONCURRENCY, withinMs).catch(this.#withLog);
        return performance.now() - from;
      }),
    );
    return Math.max(...took);
  }

  /** Ends the load, waits until all that is held was run, and tells what became of it. */
  async finish(withinMs = 60_000): Promise<Tally> {
    this.#stop.abort();
    await this.#publishing;
    await Promise.all(this.#underWay);
    const held = [...this.#fates].filter(([, fate]) => fate === "held").map(([id]) => id);
    const until = performance.now() + withinMs;
    const haveRun = (): boolean => {
      const lines = new Set(this.workers.lines());
      return held.every((id) => lines.has(id));
    };
    await eventually("all that is held has run", haveRun, withinMs, LOOK_EVERY_MS).catch(() => undefined); // what is missing is in the tally
    await this.#quiet(until);
    const runs = this.#runs();
    const of = (wanted: string): string[] => [...this.#fates].filter(([, fate]) => fate === wanted).map(([id]) => id);
    return {
      held: held.length,
      refused: of("refused").length,
      unknown: of("unknown").length,
      lost: held.filter((id) => !runs.has(id)),
      ghosts: of("refused").filter((id) => runs.has(id)),
      repeated: [...runs].filter(([, times]) => times > 1).map(([id]) => id),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#publishing;
    await Promise.all(this.#underWay);
    await this.#app.close();
    await this.workers[Symbol.asyncDispose]();
  }

  /** Until nothing runs and nothing waits any more. */
  async #quiet(until: number): Promise<void> {
    const broker = await this.#app.broker();
    const isQuiet = async (): Promise<boolean> => {
      const statuses = await Promise.all(this.workers.alive.map((worker) => worker.status()));
      const [depth] = await broker.depth(["celery"]);
      return statuses.every(({ running, onLoan }) => running + onLoan === 0) && depth?.ready === 0;
    };
    await eventually("nothing runs and nothing waits", isQuiet, until - performance.now(), LOOK_EVERY_MS).catch(() => undefined);
  }

  readonly #withLog = (error: Error): never => {
    throw new Error(`${error.message}\n${this.workers.log.slice(-30).join("\n")}`);
  };

  #runs(): Map<string, number> {
    const runs = new Map<string, number>();
    for (const line of this.workers.lines()) runs.set(line, (runs.get(line) ?? 0) + 1);
    return runs;
  }

  async #publish(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      for (let i = 0; i < BATCH; i += 1) {
        const call: Promise<void> = this.#call(TASK_MS).finally(() => this.#underWay.delete(call));
        this.#underWay.add(call);
      }
      await wait(this.#everyMs);
    }
  }

  async #call(ms: number): Promise<void> {
    const id = `t${this.#next++}`;
    try {
      await this.#app.sendTask("test.record", [id, ms]);
      this.#fates.set(id, "held");
    } catch (error) {
      if (!(error instanceof PublishFailedError)) throw error;
      this.#fates.set(id, error.calls[0]?.fate ?? "unknown");
    }
  }
}

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
