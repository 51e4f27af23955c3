/**
 * Health as the worker sees it: begun before the broker is connected, ended after everything else. Puts the meter and
 * the sampler, which write into shared memory, together with the guard thread, which reads it.
 */
import type { QueuePause } from "../../brokers/queue-pauses.ts";
import type { Clock } from "../../shared/clock.ts";
import type { GuardDeps } from "../guard-loop.ts";
import { GuardThread } from "../guard-host.ts";
import type { Trouble, Troubles } from "./judge.ts";
import { CapsuleVitals } from "./capsule-vitals.ts";
import { Sampler, type VitalSigns } from "./sampler.ts";
import { TaskMeter } from "./task-meter.ts";
import { Vitals } from "./vitals.ts";

export interface HealthOptions {
  /** `celery@host`. */
  readonly worker: string;
  /** undefined: nobody listens. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  readonly blockedLimitMs: number;
  /** Names of the worker's capsules, in the order of its status. */
  readonly capsules: readonly string[];
}

export class Health {
  readonly thread: GuardThread;
  /** To be told of every task's life. */
  readonly meter: TaskMeter;
  readonly #sampler: Sampler;
  #troubles: Troubles = {};
  #paused: readonly QueuePause[] = [];

  constructor({ capsules: names, ...options }: HealthOptions, look: () => VitalSigns, deps: GuardDeps) {
    const { clock } = deps;
    const vitals = new Vitals();
    const capsules = new CapsuleVitals(names);
    this.#sampler = new Sampler(vitals, capsules, clock, look);
    this.meter = new TaskMeter(clock, (labels) => this.thread.tell({ kind: "row", labels }));
    this.thread = new GuardThread(deps, () => ({
      ...options,
      node: process.version,
      vitals: vitals.memory,
      capsules: { names, memory: capsules.memory },
      counts: this.meter.counts.memory,
      rows: this.meter.labels,
      troubles: this.#troubles,
      paused: this.#paused,
      startedAt: startOfProcess(clock),
    }));
  }

  /** Resolves with the port once it answers. @throws HealthPortError */
  async open(): Promise<number | undefined> {
    this.#sampler.start();
    return await this.thread.open();
  }

  /** Something a prober should see at once has changed. */
  sample(): void {
    this.#sampler.sample();
  }

  /** What is wrong, in words; undefined: no longer. */
  note(about: Trouble, text: string | undefined): void {
    if (this.#troubles[about] === text) return;
    const { [about]: _, ...others } = this.#troubles;
    this.#troubles = text === undefined ? others : { ...others, [about]: text };
    this.thread.tell({ kind: "trouble", about, text });
  }

  /** All of the worker's queues that are paused now. */
  notePauses(paused: readonly QueuePause[]): void {
    this.#paused = paused;
    this.thread.tell({ kind: "paused", paused });
  }

  async close(): Promise<void> {
    this.#sampler.stop();
    await this.thread.close();
  }
}

function startOfProcess(clock: Clock): number {
  return clock.now() - process.uptime() * 1000;
}
