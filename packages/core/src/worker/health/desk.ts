/**
 * The guard thread's side of health: reads what the main thread left in shared memory, adds what it sees itself, and
 * answers `/livez`, `/readyz` and `/metrics`. Asks the broker only for the depth of queues, never while a prober waits
 * longer than a moment for it.
 */
import type { Broker, QueueDepth } from "../../brokers/broker.ts";
import type { QueuePause } from "../../brokers/queue-pauses.ts";
import { type Clock, sleep } from "../../shared/clock.ts";
import type { Lease } from "../lease.ts";
import { CapsuleVitals } from "./capsule-vitals.ts";
import { type HealthFacts, type HealthVerdicts, judgeHealth, type Trouble, type Troubles, type Verdict } from "./judge.ts";
import { metricsPage } from "./metrics-page.ts";
import { type Page, type PageServer, servePages } from "../../shared/pages.ts";
import { REFUSALS, type RowLabels, TaskCounts } from "./task-counts.ts";
import { TURN_MS, Vitals } from "./vitals.ts";

/** What crosses to the thread at its start. */
export interface HealthData {
  readonly worker: string;
  readonly node: string;
  /** undefined: nobody listens, and only the watchdog needs to see. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  readonly vitals: SharedArrayBuffer;
  readonly capsules: { readonly names: readonly string[]; readonly memory: SharedArrayBuffer };
  readonly counts: SharedArrayBuffer;
  readonly rows: readonly RowLabels[];
  readonly troubles: Troubles;
  /** Queues of the worker that are paused. */
  readonly paused: readonly QueuePause[];
  readonly blockedLimitMs: number;
  /** When the process was started, ms since 1970. */
  readonly startedAt: number;
}

/** What is told later. */
export type HealthNote =
  | { readonly kind: "row"; readonly labels: RowLabels }
  | { readonly kind: "paused"; readonly paused: readonly QueuePause[] }
  | { readonly kind: "trouble"; readonly about: Trouble; readonly text: string | undefined };

/** Depths are asked for at most so often. */
const DEPTH_EVERY_MS = 5000;
/** A page waits so long for them, and then shows those that it has. */
const DEPTH_WAIT_MS = 25;
/** Depths that are older than this are not shown. */
const DEPTH_KEPT_MS = 60_000;

export class HealthDesk {
  readonly #data: HealthData;
  readonly #clock: Clock;
  readonly #vitals: Vitals;
  readonly #counts: TaskCounts;
  readonly #capsules: CapsuleVitals;
  readonly #rows: RowLabels[];
  #troubles: Troubles;
  #paused: readonly QueuePause[];
  #lease: { readonly lease: Lease; readonly leaseMs: number } | undefined;
  #queues: { readonly broker: Broker; readonly names: readonly string[] } | undefined;
  #depths: { readonly at: number; readonly depths: readonly QueueDepth[] } | undefined;
  #asking: Promise<void> | undefined;

  constructor(data: HealthData, clock: Clock) {
    this.#data = data;
    this.#clock = clock;
    this.#vitals = new Vitals(data.vitals);
    this.#counts = new TaskCounts(data.counts);
    this.#capsules = new CapsuleVitals(data.capsules.names, data.capsules.memory);
    this.#rows = [...data.rows];
    this.#troubles = data.troubles;
    this.#paused = data.paused;
  }

  /** @throws what `listen` throws */
  listen(address: { readonly host: string; readonly port: number }): Promise<PageServer> {
    return servePages(address, {
      "/livez": () => this.#verdictPage(this.verdicts().live),
      "/readyz": () => this.#verdictPage(this.verdicts().ready),
      "/metrics": () => this.#metrics(),
    });
  }

  hear(note: HealthNote): void {
    if (note.kind === "row") this.#rows.push(note.labels);
    else if (note.kind === "paused") this.#paused = note.paused;
    else this.noteTrouble(note.about, note.text);
  }

  noteTrouble(about: Trouble, text: string | undefined): void {
    const { [about]: _, ...others } = this.#troubles;
    this.#troubles = text === undefined ? others : { ...others, [about]: text };
  }

  watchLease(lease: Lease, leaseMs: number): void {
    this.#lease = { lease, leaseMs };
  }

  /** From now on depths of queues are known, until `stopAsking`. */
  askFor(names: readonly string[], broker: Broker): void {
    this.#queues = { broker, names };
  }

  stopAsking(): void {
    this.#queues = undefined;
  }

  /** How long the event loop of the main thread has stood still. */
  get blockedMs(): number {
    const turnedAt = this.#vitals.get("turnedAt");
    return turnedAt === 0 ? 0 : Math.max(0, this.#clock.monotonic() - turnedAt - TURN_MS);
  }

  verdicts(): HealthVerdicts {
    return judgeHealth(this.#facts());
  }

  #facts(): HealthFacts {
    const now = this.#clock.monotonic();
    const lease = this.#lease && {
      leaseMs: this.#lease.leaseMs,
      leftMs: this.#lease.lease.leftMs(now),
      isSure: this.#lease.lease.isSure(now),
    };
    return {
      state: this.#vitals.state,
      isConsuming: this.#vitals.get("isConsuming") === 1,
      silentMs: this.#vitals.get("silentMs"),
      blockedMs: this.blockedMs,
      lease,
      troubles: this.#troubles,
      blockedLimitMs: this.#data.blockedLimitMs,
    };
  }

  #verdictPage({ ok, reasons }: Verdict): Page {
    const body = {
      ok,
      worker: this.#data.worker,
      state: this.#vitals.state,
      reasons,
      paused: this.#paused.map(pauseInWords),
      ...this.#capsulesInWords(),
    };
    return { status: ok ? 200 : 503, type: "application/json", body: `${JSON.stringify(body)}\n` };
  }

  async #metrics(): Promise<Page> {
    await this.#askDepths();
    const now = this.#clock.monotonic();
    const lease = this.#lease && {
      ageMs: this.#lease.lease.leftMs(now) === undefined ? undefined : this.#lease.leaseMs - (this.#lease.lease.leftMs(now) as number),
      leftMs: this.#lease.lease.leftMs(now),
      losses: this.#lease.lease.losses,
      clockOffsetMs: this.#lease.lease.clockOffsetMs,
    };
    const { user, system } = process.cpuUsage();
    const body = metricsPage({
      worker: this.#data.worker,
      node: this.#data.node,
      verdicts: this.verdicts(),
      vitals: this.#vitals,
      blockedMs: this.blockedMs,
      lease,
      tasks: this.#counts.read(this.#rows),
      refused: REFUSALS.map((reason) => [reason, this.#counts.refused(reason)]),
      queues: this.#depths !== undefined && now - this.#depths.at < DEPTH_KEPT_MS ? this.#depths.depths : undefined,
      paused: this.#pausedOrNot(),
      capsules: this.#capsules.read(),
      process: { rssBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6, startedAt: this.#data.startedAt },
    });
    return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body };
  }

  /** Only where there are several: else the worker's own state says all. */
  #capsulesInWords(): object {
    const rows = this.#capsules.read();
    if (rows.length < 2) return {};
    return { capsules: rows.map(({ name, isConsuming, slots, running }) => ({ name, consuming: isConsuming === 1, slots, running })) };
  }

  #pausedOrNot(): readonly (readonly [string, boolean])[] {
    const paused = new Set(this.#paused.map(({ queue }) => queue));
    return Array.from(new Set([...(this.#queues?.names ?? []), ...paused]), (queue) => [queue, paused.has(queue)] as const);
  }

  async #askDepths(): Promise<void> {
    if (this.#queues === undefined) return;
    const isFresh = this.#depths !== undefined && this.#clock.monotonic() - this.#depths.at < DEPTH_EVERY_MS;
    if (isFresh) return;
    this.#asking ??= this.#ask(this.#queues).finally(() => (this.#asking = undefined));
    await Promise.race([this.#asking, sleep(this.#clock, DEPTH_WAIT_MS)]);
  }

  async #ask({ broker, names }: { readonly broker: Broker; readonly names: readonly string[] }): Promise<void> {
    try {
      this.#depths = { depths: await broker.depth(names), at: this.#clock.monotonic() };
    } catch {
      // the lease, which goes over the same connection, tells what is wrong with it
    }
  }
}

/** As a person reads it: times in ISO 8601. */
function pauseInWords({ queue, by, reason, at, until }: QueuePause): Readonly<Record<string, string>> {
  const end = until === undefined ? {} : { until: new Date(until).toISOString() };
  return { queue, by, reason, since: new Date(at).toISOString(), ...end };
}
