/** Pauses of queues in a table of their own. Other processes look at it a few times a second: it has few rows, or none. */
import type { Timer } from "../../shared/clock.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import { BrokerRefusedError } from "../errors.ts";
import { inForce, PAUSES_MAX, type QueuePause, type QueuePauses } from "../queue-pauses.ts";

/** The bell rings at every commit of every process: under load that is far more often. */
const LOOK_MS = 250;

interface Row extends Omit<QueuePause, "until"> {
  readonly until: number | null;
}

export class SqlitePauses implements QueuePauses {
  readonly #location: string;
  readonly #file: SqliteFile;
  readonly #timing: { readonly timeoutMs: number };
  /** Of this open broker, told at once. */
  readonly #watchers = new Set<() => void>();

  constructor(location: string, file: SqliteFile, timing: { readonly timeoutMs: number }) {
    this.#location = location;
    this.#file = file;
    this.#timing = timing;
  }

  async pause(pauses: readonly QueuePause[]): Promise<void> {
    await this.#file.write(() => {
      this.#file.sql("pause.forget").run(Math.floor(this.#file.clock.now()));
      const add = this.#file.sql("pause.add");
      for (const { queue, reason, by, at, until } of pauses)
        add.run(queue, reason, by, Math.floor(at), until === undefined ? null : Math.ceil(until));
      const { count } = this.#file.sql("pause.count").get() as { count: number };
      if (count > PAUSES_MAX) throw new BrokerRefusedError(this.#location, `more than ${PAUSES_MAX} queues cannot be paused`);
    }, this.#timing);
    this.#tell();
  }

  async resume(queues: readonly string[]): Promise<readonly string[]> {
    const resumed = await this.#file.write(
      () => queues.filter((queue) => Number(this.#file.sql("pause.remove").run(queue).changes) > 0),
      this.#timing,
    );
    this.#tell();
    return resumed;
  }

  async list(): Promise<readonly QueuePause[]> {
    const rows = await this.#file.read(() => this.#file.sql("pause.list").all() as Row[], this.#timing);
    return inForce(
      rows.map((row) => ({ ...row, until: row.until ?? undefined })),
      this.#file.clock.now(),
    );
  }

  watch(signal: AbortSignal, changed: () => void): void {
    if (signal.aborted) return;
    this.#watchers.add(changed);
    let timer: Timer;
    const look = (): void => {
      changed();
      timer = this.#file.clock.timer(LOOK_MS, look, { background: true });
    };
    timer = this.#file.clock.timer(LOOK_MS, look, { background: true });
    const end = (): void => {
      timer.cancel();
      this.#watchers.delete(changed);
    };
    signal.addEventListener("abort", end, { once: true });
  }

  #tell(): void {
    for (const changed of this.#watchers) changed();
  }
}
