/** The page `/metrics`: every number a worker tells, under its name. docs/health.md lists them. */
import type { QueueDepth } from "../../brokers/broker.ts";
import type { CapsuleRow, CapsuleVital } from "./capsule-vitals.ts";
import { Exposition, type Labels } from "../../shared/exposition.ts";
import type { HealthVerdicts } from "./judge.ts";
import { OUTCOMES, type REFUSALS, RUNTIME_BUCKETS, type TaskRow, WAIT_BUCKETS } from "./task-counts.ts";
import { LAG_BUCKETS, STATES, type Vitals } from "./vitals.ts";

export interface MetricsFacts {
  readonly worker: string;
  /** Version of Node. */
  readonly node: string;
  readonly verdicts: HealthVerdicts;
  readonly vitals: Vitals;
  readonly blockedMs: number;
  readonly lease:
    | { readonly ageMs: number | undefined; readonly leftMs: number | undefined; readonly losses: number; readonly clockOffsetMs: number }
    | undefined;
  readonly tasks: readonly TaskRow[];
  readonly refused: readonly (readonly [(typeof REFUSALS)[number], number])[];
  /** undefined: not known, the broker has not been asked yet or does not answer. */
  readonly queues: readonly QueueDepth[] | undefined;
  /** Queues, and whether this worker takes nothing from them. */
  readonly paused: readonly (readonly [string, boolean])[];
  /** One, unless the worker has several. */
  readonly capsules: readonly CapsuleRow[];
  readonly process: { readonly rssBytes: number; readonly cpuSeconds: number; readonly startedAt: number };
}

/** As Celery's states are called. */
const OUTCOME_LABELS: Readonly<Record<(typeof OUTCOMES)[number], string>> = {
  succeeded: "succeeded",
  failed: "failed",
  retry: "retried",
  snoozed: "snoozed",
  yielded: "yielded",
  ignored: "ignored",
  replaced: "replaced",
  rejected: "rejected",
  timedOut: "timed_out",
  revoked: "revoked",
  childLost: "child_lost",
  interrupted: "interrupted",
  leaseLost: "lease_lost",
};
const REFUSAL_LABELS: Readonly<Record<(typeof REFUSALS)[number], string>> = {
  undecodable: "undecodable",
  unknownTask: "unknown_task",
  poison: "poison",
};
/** These are told from the start, so that a rate has a beginning; others once they happen. */
const ALWAYS: ReadonlySet<string> = new Set(["succeeded", "failed", "retry", "revoked"]);

export function metricsPage(facts: MetricsFacts): string {
  const page = new Exposition();
  const only = (value: number | undefined): [Labels, number][] => (value === undefined ? [] : [[{}, value]]);
  writeWorker(page, facts, only);
  if (facts.capsules.length > 1) writeCapsules(page, facts.capsules);
  writeTasks(page, facts);
  writeLink(page, facts, only);
  writeQueues(page, facts.queues ?? [], facts.paused);
  writeProcess(page, facts, only);
  return page.toString();
}

type Only = (value: number | undefined) => [Labels, number][];

function writeWorker(page: Exposition, { worker, node, verdicts, vitals }: MetricsFacts, only: Only): void {
  page.gauge("lovage_worker_info", "The worker; always 1.", [[{ worker, node }, 1]]);
  page.gauge("lovage_worker_live", "1 when /livez answers 200.", only(Number(verdicts.live.ok)));
  page.gauge("lovage_worker_ready", "1 when /readyz answers 200.", only(Number(verdicts.ready.ok)));
  page.gauge(
    "lovage_worker_state",
    "1 for the state the worker is in.",
    STATES.map((state) => [{ state }, Number(vitals.state === state)]),
  );
  page.gauge("lovage_worker_slots", "Tasks that can run at once.", only(vitals.get("slots")));
  page.gauge("lovage_worker_running_tasks", "Tasks that run.", only(vitals.get("running")));
  page.gauge("lovage_worker_waiting_tasks", "Messages here that wait for a slot.", only(vitals.get("waiting")));
  page.gauge("lovage_worker_scheduled_tasks", "Messages here that wait for their ETA.", only(vitals.get("scheduled")));
  page.gauge("lovage_worker_loans", "Messages on loan to this worker, without those that wait for their ETA.", only(vitals.get("onLoan")));
  page.gauge("lovage_worker_prefetch", "Messages on loan at most.", only(vitals.get("prefetch")));
}

function writeCapsules(page: Exposition, capsules: readonly CapsuleRow[]): void {
  const of = (vital: CapsuleVital): [Labels, number][] => capsules.map((row) => [{ capsule: row.name }, row[vital]]);
  page.gauge("lovage_capsule_consuming", "1 while the capsule would take messages that are published now.", of("isConsuming"));
  page.gauge("lovage_capsule_slots", "Tasks that the capsule can run at once.", of("slots"));
  page.gauge("lovage_capsule_running_tasks", "Tasks of the capsule that run.", of("running"));
  page.gauge("lovage_capsule_waiting_tasks", "Messages here that wait for one of its slots.", of("waiting"));
  page.gauge("lovage_capsule_scheduled_tasks", "Messages of the capsule that wait here for their ETA.", of("scheduled"));
  page.gauge("lovage_capsule_loans", "Messages on loan to the capsule, without those that wait for their ETA.", of("onLoan"));
}

function writeTasks(page: Exposition, { tasks, refused }: MetricsFacts): void {
  const of = (read: (row: TaskRow) => number): [Labels, number][] => tasks.map((row) => [labelsOf(row), read(row)]);
  page.counter(
    "lovage_tasks_received_total",
    "Tasks received.",
    of((row) => row.received),
  );
  page.counter(
    "lovage_tasks_started_total",
    "Task bodies begun.",
    of((row) => row.started),
  );
  page.counter(
    "lovage_tasks_ended_total",
    "Tasks settled, by outcome.",
    tasks.flatMap((row) =>
      OUTCOMES.filter((kind) => ALWAYS.has(kind) || row.ended[kind] > 0).map((kind): [Labels, number] => [
        { ...labelsOf(row), outcome: OUTCOME_LABELS[kind] },
        row.ended[kind],
      ]),
    ),
  );
  page.counter(
    "lovage_task_retries_total",
    "Retries sent; the same as the outcome retried.",
    of((row) => row.ended.retry),
  );
  page.counter(
    "lovage_tasks_redelivered_total",
    "Tasks received again after a worker that held them died.",
    of((row) => row.afterLoss),
  );
  page.counter(
    "lovage_tasks_lost_total",
    "Tasks whose message had been given to another worker when they ended.",
    of((row) => row.lost),
  );
  page.histogram(
    "lovage_task_runtime_seconds",
    "Run time of task bodies.",
    RUNTIME_BUCKETS,
    tasks.map((row) => [labelsOf(row), row.runtime]),
  );
  page.histogram(
    "lovage_task_wait_seconds",
    "From a task's receipt, or its ETA, to the start of its body.",
    WAIT_BUCKETS,
    tasks.map((row) => [labelsOf(row), row.wait]),
  );
  page.counter(
    "lovage_messages_refused_total",
    "Messages that were not run and went to the dead letters.",
    refused.map(([reason, count]) => [{ reason: REFUSAL_LABELS[reason] }, count]),
  );
}

function labelsOf({ task, queue }: TaskRow): Labels {
  return { task, queue };
}

function writeLink(page: Exposition, { vitals, lease }: MetricsFacts, only: Only): void {
  page.gauge("lovage_consuming", "1 while messages that are published now would be taken.", only(vitals.get("isConsuming")));
  page.counter("lovage_broker_reconnects_total", "Connections made after one was lost.", only(Math.max(0, vitals.get("connects") - 1)));
  if (lease === undefined) return;
  page.gauge("lovage_lease_age_seconds", "Since the lease was renewed.", only(inSeconds(lease.ageMs)));
  page.gauge("lovage_lease_remaining_seconds", "Until the lease runs out.", only(inSeconds(lease.leftMs)));
  page.counter("lovage_lease_losses_total", "Leases that ran out, so that the messages went to other workers.", only(lease.losses));
  page.gauge("lovage_broker_clock_offset_seconds", "The broker's clock minus this machine's.", only(lease.clockOffsetMs / 1000));
}

function writeQueues(page: Exposition, queues: readonly QueueDepth[], paused: MetricsFacts["paused"]): void {
  const of = (read: (depth: QueueDepth) => number): [Labels, number][] => queues.map((depth) => [{ queue: depth.queue }, read(depth)]);
  page.gauge(
    "lovage_queue_length",
    "Messages that are ready. The same from every worker: take the maximum.",
    of(({ ready }) => ready),
  );
  page.gauge(
    "lovage_queue_parked",
    "Messages that wait in the broker for their time.",
    of(({ parked }) => parked),
  );
  page.gauge(
    "lovage_dead_letters",
    "Dead letters that are kept.",
    of(({ dead }) => dead),
  );
  page.gauge(
    "lovage_queue_paused",
    "1 while the queue is paused: workers take nothing from it.",
    paused.map(([queue, isPaused]) => [{ queue }, Number(isPaused)]),
  );
}

function writeProcess(page: Exposition, { vitals, blockedMs, process }: MetricsFacts, only: Only): void {
  page.histogram("lovage_event_loop_lag_seconds", "How late the main thread's timers are, looked at four times a second.", LAG_BUCKETS, [
    [{}, vitals.lag],
  ]);
  page.gauge("lovage_event_loop_blocked_seconds", "How long the main thread's event loop has stood still, now.", only(blockedMs / 1000));
  page.counter(
    "lovage_event_loop_active_seconds_total",
    "Time the main thread's event loop was not idle.",
    only(vitals.get("loopActiveMs") / 1000),
  );
  page.gauge("process_resident_memory_bytes", "Resident memory of the process, with its threads.", only(process.rssBytes));
  page.counter("process_cpu_seconds_total", "CPU time of the process, with its threads.", only(process.cpuSeconds));
  page.gauge("process_start_time_seconds", "When the process was started, in seconds since 1970.", only(process.startedAt / 1000));
  page.gauge("nodejs_heap_size_used_bytes", "Heap in use on the main thread.", only(vitals.get("heapUsed")));
  page.gauge("nodejs_heap_size_total_bytes", "Heap of the main thread.", only(vitals.get("heapTotal")));
  page.gauge("nodejs_external_memory_bytes", "Memory outside of the heap that belongs to its objects.", only(vitals.get("external")));
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}
