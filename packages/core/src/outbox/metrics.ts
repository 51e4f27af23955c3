/** The lag of an outbox for Prometheus, served where its relay runs. docs/outbox.md lists the numbers. */
import { type Clock, sleep } from "../shared/clock.ts";
import { Exposition } from "../shared/exposition.ts";
import { type Page, type PageServer, servePages } from "../shared/pages.ts";
import type { OutboxRelay, RelayCounts } from "./relay.ts";
import type { OutboxStatus } from "./store.ts";

export interface RelayMetricsOptions {
  /** 0 takes any free port. */
  readonly port: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
}

export interface RelayMetrics extends AsyncDisposable {
  readonly port: number;
}

/** The database is asked at most so often, whoever scrapes. */
const FRESH_MS = 1000;
/** A page waits so long for it. */
const ANSWER_MS = 2000;

/** Answers `GET /metrics` until disposed. @throws what `listen` throws, for a port that is taken for instance */
export async function serveRelayMetrics(relay: OutboxRelay, { port, host = "127.0.0.1" }: RelayMetricsOptions): Promise<RelayMetrics> {
  const look = new Look(relay, relay.clock);
  const page = async (): Promise<Page> => {
    const body = metricsOf(relay.location, await look.status(), relay.counts);
    return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body };
  };
  const server: PageServer = await servePages({ host, port }, { "/metrics": page });
  return { port: server.port, [Symbol.asyncDispose]: () => server.close() };
}

/** What the database says, asked once for all who want to know at a time. */
class Look {
  readonly #relay: OutboxRelay;
  readonly #clock: Clock;
  #asking: Promise<OutboxStatus | undefined> | undefined;
  #last: { readonly at: number; readonly status: OutboxStatus } | undefined;

  constructor(relay: OutboxRelay, clock: Clock) {
    this.#relay = relay;
    this.#clock = clock;
  }

  /** undefined: it does not answer. */
  async status(): Promise<OutboxStatus | undefined> {
    if (this.#last !== undefined && this.#clock.monotonic() - this.#last.at < FRESH_MS) return this.#last.status;
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    const enough = new AbortController();
    const late = sleep(this.#clock, ANSWER_MS, enough.signal).then(
      () => undefined,
      () => undefined,
    );
    try {
      return await Promise.race([this.#asking, late]);
    } finally {
      enough.abort();
    }
  }

  async #ask(): Promise<OutboxStatus | undefined> {
    try {
      const status = await this.#relay.status();
      this.#last = { at: this.#clock.monotonic(), status };
      return status;
    } catch {
      return undefined; // told by lovage_outbox_up; the relay's log says why
    }
  }
}

function metricsOf(outbox: string, status: OutboxStatus | undefined, counts: RelayCounts): string {
  const page = new Exposition();
  const labels = { outbox };
  page.gauge("lovage_outbox_up", "1 while the outbox's database answers.", [[labels, Number(status !== undefined)]]);
  if (status !== undefined) {
    page.gauge("lovage_outbox_waiting_rows", "Rows that are committed and not yet published. The same from every relay.", [
      [labels, status.waiting],
    ]);
    page.gauge("lovage_outbox_lag_seconds", "How long the oldest of them waits, by the database's clock; 0 when none does.", [
      [labels, status.lagMs / 1000],
    ]);
    page.gauge("lovage_outbox_held_back_rows", "Of those that wait: held up by a transaction that is still open.", [
      [labels, status.heldBack],
    ]);
    page.gauge("lovage_outbox_aside_rows", "Rows that can never be published and were set aside.", [[labels, status.setAside]]);
  }
  page.counter("lovage_outbox_published_total", "Rows that this relay has published.", [[labels, counts.published]]);
  page.counter("lovage_outbox_set_aside_total", "Rows that this relay has set aside.", [[labels, counts.setAside]]);
  page.counter("lovage_outbox_failed_rounds_total", "Rounds of this relay that failed, for an absent database or broker.", [
    [labels, counts.failedRounds],
  ]);
  return page.toString();
}
