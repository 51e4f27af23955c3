/** What a worker says of itself when it starts. Pure: facts in, lines out. After Celery's banner (celery/apps/worker.py). */
import { OWN_CAPSULE } from "../app/capsules.ts";
import type { DeclaredQueue } from "../app/queues.ts";
import type { QueueOrder } from "../brokers/queue-order.ts";

export interface BannerFacts {
  /** `celery@host`. */
  readonly worker: string;
  readonly version: string;
  readonly app: string;
  /** Without credentials. */
  readonly transport: string;
  /** Without credentials; undefined: no results are kept. */
  readonly results: string | undefined;
  readonly pool: string;
  /** The worker's own first; most workers have one. */
  readonly capsules: readonly BannerCapsule[];
  readonly tasks: readonly string[];
}

export interface BannerCapsule {
  readonly name: string;
  readonly concurrency: number;
  readonly order: QueueOrder | undefined;
  readonly queues: readonly DeclaredQueue[];
}

export function bannerLines(facts: BannerFacts): string[] {
  const total = facts.capsules.reduce((sum, { concurrency }) => sum + concurrency, 0);
  const isOne = facts.capsules.length === 1 && facts.capsules[0]?.name === OWN_CAPSULE;
  return [
    `${facts.worker} lovage v${facts.version}`,
    "",
    "[config]",
    `  app:         ${facts.app}`,
    `  transport:   ${facts.transport}`,
    `  results:     ${facts.results ?? "disabled"}`,
    `  concurrency: ${total} (${facts.pool})`,
    "",
    ...facts.capsules.flatMap((capsule) => [...queueLines(capsule, isOne), ""]),
    "[tasks]",
    ...facts.tasks.toSorted().map((task) => `  . ${task}`),
  ];
}

function queueLines({ name, concurrency, order, queues }: BannerCapsule, isOne: boolean): string[] {
  const width = Math.max(0, ...queues.map((queue) => queue.name.length));
  const how = order?.kind === "strict" ? ["strictly in this order"] : order?.kind === "weighted" ? ["by weight"] : [];
  const facts = [...(isOne ? [] : [`capsule ${name}`, `concurrency ${concurrency}`]), ...how];
  const lines = queues.map(({ name: queue, bindings: [first] }) => {
    const exchange = `exchange=${first?.exchange || "(default)"}(${first?.exchangeType ?? "direct"}) key=${first?.routingKey ?? queue}`;
    const weight = order?.kind === "weighted" ? ` weight=${order.weights.get(queue) ?? 1}` : "";
    return `  ${queue.padEnd(width)}  ${exchange}${weight}`;
  });
  return [facts.length === 0 ? "[queues]" : `[queues] ${facts.join(", ")}`, ...lines];
}
