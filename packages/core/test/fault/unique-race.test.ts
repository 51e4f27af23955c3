/** Producers in processes of their own call one unique task at the same moment: one task runs, and every caller holds its id. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Lovage } from "lovage";
import { expect, test } from "vitest";

import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { temporaryStores } from "../support/stores.ts";

const PRODUCERS = 5;
const CALLS_EACH = process.env["LOVAGE_SOAK"] === "1" ? 4000 : 200;
const program = fileURLToPath(new URL("unique-race-child.mjs", import.meta.url));

interface Answer {
  readonly id: string;
  readonly isDuplicate: boolean;
}

class Producers implements AsyncDisposable {
  readonly #children: readonly ChildProcess[];
  readonly #gone: readonly Promise<unknown>[];
  /** What they wrote besides, such as Node's warnings. */
  complaints = "";

  private constructor(url: string) {
    const start = (): ChildProcess =>
      fork(program, [url, String(CALLS_EACH)], { execArgv: [], stdio: ["ignore", "inherit", "pipe", "ipc"] });
    this.#children = Array.from({ length: PRODUCERS }, start);
    this.#gone = this.#children.map(async (child) => await once(child, "close"));
    for (const { stderr } of this.#children) stderr?.on("data", (text: Buffer) => (this.complaints += text.toString()));
  }

  static async start(url: string): Promise<Producers> {
    const producers = new Producers(url);
    try {
      await producers.#hear();
      return producers;
    } catch (error) {
      await producers[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** All call at once. What their calls were answered. */
  async race(unique: object): Promise<Answer[]> {
    const answers = this.#hear<Answer[]>();
    for (const child of this.#children) child.send(unique);
    return (await answers).flat();
  }

  async #hear<T>(): Promise<T[]> {
    const ended = Promise.race(this.#gone).then(() => Promise.reject(new Error(`a producer ended: ${this.complaints}`)));
    const said = Promise.all(this.#children.map(async (child) => ((await once(child, "message")) as [T])[0]));
    return await Promise.race([said, ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(this.#gone);
  }
}

const none = (): void => undefined;
const quiet = { debug: none, info: none, warn: none, error: none, child: () => quiet };

test.each(temporaryStores())("1,000 calls of five processes at once give one task: $kind", { timeout: 180_000 }, async ({ open }) => {
  await using store = await open();
  await using workers = new RecordingWorkers({ broker: store.url });
  await using app = new Lovage("race", { brokerUrl: store.url, env: false, configFile: false, logger: quiet });
  await using producers = await Producers.start(store.url);
  const isFree = async (): Promise<boolean> => (await app.unique.list()).length === 0;
  const depth = async () => (await (await app.broker()).depth(["celery"]))[0];

  const answers = await producers.race({ key: "one" });
  expect(answers).toHaveLength(PRODUCERS * CALLS_EACH);
  expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
  expect(answers.filter(({ isDuplicate }) => !isDuplicate)).toHaveLength(1);
  expect((await app.unique.list()).map(({ taskId }) => taskId)).toEqual([answers[0]?.id]);
  expect(await depth()).toMatchObject({ ready: 1, parked: 0 });
  await workers.start();
  await eventually("the lock to be free", isFree, 60_000);
  for (const worker of workers.alive) await worker.end("SIGTERM");

  // The last counts: one runs, and one after it.
  const lasts = await producers.race({ key: "one", keepLast: true });
  const [held] = await app.unique.list();
  const sent = lasts.filter(({ isDuplicate }) => !isDuplicate);
  expect(sent).toHaveLength(2);
  expect(new Set(sent.map(({ id }) => id))).toEqual(new Set([held?.taskId, held?.nextTaskId]));
  expect(new Set(lasts.filter(({ isDuplicate }) => isDuplicate).map(({ id }) => id))).toEqual(new Set([held?.nextTaskId]));
  expect(await depth()).toMatchObject({ ready: 1, parked: 1 });
  await workers.start();
  await eventually("the lock to be free", isFree, 60_000);
  expect(workers.lines()).toHaveLength(3);
  expect(producers.complaints).toBe("");
});
