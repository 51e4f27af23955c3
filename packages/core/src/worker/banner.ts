/** What a worker says of itself when it starts. Pure: facts in, lines out. After Celery's banner (celery/apps/worker.py). */
export interface BannerFacts {
  /** `celery@host`. */
  readonly worker: string;
  readonly version: string;
  readonly app: string;
  /** Without credentials. */
  readonly transport: string;
  /** Without credentials; undefined: no results are kept. */
  readonly results: string | undefined;
  readonly concurrency: number;
  readonly pool: string;
  readonly queues: readonly BannerQueue[];
  readonly tasks: readonly string[];
}

export interface BannerQueue {
  readonly name: string;
  readonly exchange: string;
  readonly exchangeType: string;
  readonly routingKey: string;
}

export function bannerLines(facts: BannerFacts): string[] {
  const nameWidth = Math.max(0, ...facts.queues.map((queue) => queue.name.length));
  return [
    `${facts.worker} lovage v${facts.version}`,
    "",
    "[config]",
    `  app:         ${facts.app}`,
    `  transport:   ${facts.transport}`,
    `  results:     ${facts.results ?? "disabled"}`,
    `  concurrency: ${facts.concurrency} (${facts.pool})`,
    "",
    "[queues]",
    ...facts.queues.map(
      (queue) =>
        `  ${queue.name.padEnd(nameWidth)}  exchange=${queue.exchange || "(default)"}(${queue.exchangeType}) key=${queue.routingKey}`,
    ),
    "",
    "[tasks]",
    ...facts.tasks.toSorted().map((task) => `  . ${task}`),
  ];
}
