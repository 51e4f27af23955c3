/** `lovage outbox`: publishes what transactions have left in a database, and looks after what cannot be published. */
import { countOf } from "../../shared/count-of.ts";
import { systemClock } from "../../shared/clock.ts";
import { formatDuration } from "../../shared/duration.ts";
import { errorText } from "../../shared/errors.ts";
import type { RelayMetrics } from "../../outbox/metrics.ts";
import type { OutboxRelay } from "../../outbox/relay.ts";
import type { AsideRow, OutboxStatus, OutboxStore } from "../../outbox/store.ts";
import { defineCommand, type CommandContext } from "../command.ts";
import { UsageError } from "../errors.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { choice, durationMs, flag, names, text, wholeNumber } from "../option-kinds.ts";
import type { Lovage } from "../../app/app.ts";
import { tableLines, type Column } from "../table.ts";

const ACTIONS = ["relay", "status", "aside", "retry", "discard", "migrate", "sql"] as const;

export const outbox = defineCommand({
  options: {
    database: text("-d, --database <url>", "postgres:// or sqlite:// (default: the setting outbox_url)"),
    batch: wholeNumber("--batch <number>", "with relay: rows of one round (default: 500)", 1, 10_000),
    pollMs: durationMs("--poll <duration>", "with relay: the longest time without a look for rows (default: 1s)"),
    metricsPort: wholeNumber("--metrics-port <port>", "with relay: answer /metrics here, for Prometheus (default: not at all)", 0, 65_535),
    metricsHost: text("--metrics-host <address>", "with relay: on this address (default: 127.0.0.1)"),
    once: flag("--once", "with relay: publish what waits now, and end"),
    maxLagMs: durationMs("--max-lag <duration>", "with status: exit with 1 when the oldest row waits longer"),
    ids: names("--id <ids>", "with retry or discard: only these tasks"),
    all: flag("--all", "with retry: all of them"),
    olderMs: durationMs("--older-than <duration>", "with discard: those that were set aside longer ago than this"),
    limit: wholeNumber("--limit <number>", "with aside: at most so many (default: 50)", 1),
    dialect: choice("--dialect <name>", "with sql: for which database (default: that of the URL)", ["postgres", "sqlite"]),
  },
  arguments: [{ name: "action", description: ACTIONS.join(", "), required: true, choices: ACTIONS }],
  examples: [
    "lovage -A ./src/app.ts outbox relay -d postgres://app@db/shop",
    "lovage outbox relay --metrics-port 9464",
    "lovage outbox status --max-lag 30s",
    "lovage outbox aside",
    "lovage outbox retry --id 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e",
    "lovage outbox discard --older-than 30d",
    "lovage outbox sql --dialect postgres > migrations/0042_outbox.sql",
  ],
  async run(context, options, [chosen]) {
    const action = chosen as (typeof ACTIONS)[number]; // the parser knows no other
    const { openOutboxStore, dialectOf } = await import("../../outbox/open-store.ts");
    if (action === "sql" && (options.dialect !== undefined || options.database !== undefined))
      return await printSql(context, options.dialect ?? dialectOf(options.database as string));
    const app = await context.openApp();
    if (action === "sql") {
      const url = app.settings.outboxUrl;
      if (url === null) throw new UsageError("outbox sql needs to know the database", "give --dialect postgres or sqlite");
      return await printSql(context, dialectOf(url));
    }
    await using store = openOutboxStore(app, options.database);
    switch (action) {
      case "relay":
        return await relay(context, app, store, options);
      case "status":
        return await status(context, store, options.maxLagMs);
      case "aside":
        return await listAside(context, store, options.limit ?? 50);
      case "retry": {
        if (options.ids === undefined && !options.all)
          throw new UsageError("outbox retry needs to know which", "name them with --id, or give --all");
        const retried = await store.retryAside(options.ids ?? "all");
        context.output.answer({ retried }, () => `${countOf(retried, "row")} put back, behind the others of their keys`);
        return options.ids !== undefined && retried < options.ids.length ? EXIT.failure : EXIT.ok;
      }
      case "discard": {
        const which = options.ids ?? (options.olderMs === undefined ? undefined : { olderThanMs: options.olderMs });
        if (which === undefined) throw new UsageError("outbox discard needs to know which", "give --id or --older-than");
        const discarded = await store.discardAside(which);
        context.output.answer({ discarded }, () => `${countOf(discarded, "row")} discarded`);
        return EXIT.ok;
      }
      case "migrate": {
        const applied = await store.migrate();
        context.output.answer({ location: store.location, applied }, () =>
          applied.length === 0
            ? `the outbox in ${store.location} is up to date`
            : `the outbox in ${store.location} now has schema ${applied.at(-1)}`,
        );
        return EXIT.ok;
      }
    }
  },
});

async function printSql({ output }: CommandContext, dialect: "postgres" | "sqlite"): Promise<ExitCode> {
  const { migrationText } = await import("../../outbox/migrations.ts");
  const sql = migrationText(dialect);
  output.answer({ dialect, sql }, () => sql.trimEnd());
  return EXIT.ok;
}

interface RelayFlags {
  readonly batch: number | undefined;
  readonly pollMs: number | undefined;
  readonly once: boolean;
  readonly metricsPort: number | undefined;
  readonly metricsHost: string | undefined;
}

async function relay(context: CommandContext, app: Lovage, store: OutboxStore, flags: RelayFlags): Promise<ExitCode> {
  const { output, globals, env } = context;
  const [{ OutboxRelay }, { makeLogger, LineWriter }, { wantsColor }, { default: pc }] = await Promise.all([
    import("../../outbox/relay.ts"),
    import("../log.ts"),
    import("../output.ts"),
    import("picocolors"),
  ]);
  const lines = new LineWriter((line) => void process.stderr.write(line));
  const colors = pc.createColors(wantsColor(process.stderr, { color: globals.color, env }));
  const log = { format: globals.json ? "json" : "human", level: "info", process: "Outbox", colors, lines, clock: systemClock } as const;
  app.useLogger(await makeLogger(log));
  const stopping = stopSignal(context.signal);
  await store.status(); // a wrong address or missing tables are told at once, and not waited out
  const worker = new OutboxRelay(app, store, {
    ...(flags.batch === undefined ? {} : { batch: flags.batch }),
    ...(flags.pollMs === undefined ? {} : { pollMs: flags.pollMs }),
  });
  if (flags.once) {
    await worker.drain();
    output.answer(worker.counts, () => `${countOf(worker.counts.published, "row")} published`);
  } else {
    const metrics = await serveMetrics(worker, flags);
    if (metrics) app.logger.info({ port: metrics.port }, `metrics are served on http://${metricsHost(flags)}:${metrics.port}/metrics`);
    app.logger.info({ outbox: store.location }, "the relay publishes what is in the outbox");
    try {
      await worker.run(stopping);
    } finally {
      await metrics?.[Symbol.asyncDispose]();
    }
    app.logger.info({ ...worker.counts }, "the relay has stopped");
  }
  lines.flush();
  return EXIT.ok;
}

const metricsHost = (flags: RelayFlags): string => flags.metricsHost ?? "127.0.0.1";

async function serveMetrics(publisher: OutboxRelay, flags: RelayFlags): Promise<RelayMetrics | undefined> {
  if (flags.metricsPort === undefined) return undefined;
  const { serveRelayMetrics } = await import("../../outbox/metrics.ts");
  try {
    return await serveRelayMetrics(publisher, { port: flags.metricsPort, host: metricsHost(flags) });
  } catch (error) {
    throw new UsageError(
      `metrics cannot be served on ${metricsHost(flags)}:${flags.metricsPort}: ${errorText(error)}`,
      "give another --metrics-port",
    );
  }
}

/** Ctrl+C, or SIGTERM from a service manager: the round that has begun is finished. */
function stopSignal(interrupted: AbortSignal): AbortSignal {
  const terminated = new AbortController();
  process.once("SIGTERM", () => terminated.abort());
  return AbortSignal.any([interrupted, terminated.signal]);
}

async function status({ output }: CommandContext, store: OutboxStore, maxLagMs: number | undefined): Promise<ExitCode> {
  const now: OutboxStatus = await store.status();
  output.answer({ location: store.location, ...now }, (colors) => [
    `${colors.bold("waiting  ")} ${now.waiting}${now.waiting === 0 ? "" : `, the oldest for ${formatDuration(Math.round(now.lagMs))}`}`,
    `${colors.bold("held back")} ${now.heldBack}${now.heldBack === 0 ? "" : ", by a transaction that is still open"}`,
    `${colors.bold("set aside")} ${now.setAside}${now.setAside === 0 ? "" : ": `lovage outbox aside` says why"}`,
  ]);
  return maxLagMs !== undefined && now.lagMs > maxLagMs ? EXIT.failure : EXIT.ok;
}

async function listAside({ output }: CommandContext, store: OutboxStore, limit: number): Promise<ExitCode> {
  const rows = await store.listAside(limit);
  const document = rows.map((row) => ({ ...row, createdAt: instant(row.createdAt), setAsideAt: instant(row.setAsideAt) }));
  output.answer(document, (colors) => (rows.length === 0 ? "nothing is set aside" : tableLines(rows, COLUMNS, colors)));
  return EXIT.ok;
}

const COLUMNS: readonly Column<AsideRow>[] = [
  { title: "set aside", cell: ({ setAsideAt }) => instant(setAsideAt) },
  { title: "task", cell: ({ task }) => task },
  { title: "id", cell: ({ id }) => id },
  { title: "key", cell: ({ key }) => key ?? "" },
  { title: "reason", cell: ({ reason }) => reason },
];

function instant(at: number): string {
  return new Date(at).toISOString();
}
