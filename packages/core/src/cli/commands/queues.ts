/** `lovage queues`: how much waits in each and who paused it; pauses queues, and lets them go on. */
import { didYouMean } from "../../shared/suggest.ts";
import type { Lovage } from "../../app/app.ts";
import type { PauseOptions } from "../../app/queue-control.ts";
import type { QueueDepth } from "../../brokers/broker.ts";
import type { QueuePause } from "../../brokers/queue-pauses.ts";
import { chooseQueues } from "../choose-queues.ts";
import { defineCommand, type CommandContext } from "../command.ts";
import { UsageError } from "../errors.ts";
import { durationMs, names, text } from "../option-kinds.ts";
import { readDate } from "../option-kinds.ts";
import { reachBroker } from "../reach.ts";
import { tableLines, type Column } from "../table.ts";

const ACTIONS = ["list", "pause", "resume"] as const;

export const queues = defineCommand({
  options: {
    queues: names("-Q, --queues <names>", "these queues, separated by commas (default: those of the app)"),
    exclude: names("-X, --exclude-queues <names>", "not these"),
    reason: text("--reason <text>", "with pause: why, for whoever finds it paused"),
    by: text("--by <name>", "with pause: who (default: you, at this machine)"),
    forMs: durationMs("--for <duration>", "with pause: goes on by itself after so long"),
    until: { flags: "--until <time>", description: "with pause: goes on by itself then, in ISO 8601", parse: readDate },
  },
  arguments: [
    { name: "action", description: "list (default), pause, resume", required: false, choices: ACTIONS },
    { name: "queue", description: "which, for pause and resume", required: false, variadic: true },
  ],
  examples: [
    "lovage -A ./src/app.ts queues",
    "lovage -b redis://127.0.0.1:6379/0 queues list -Q celery,reports --json",
    'lovage queues pause mail newsletter --reason "the provider is down" --for 2h',
    "lovage queues resume mail",
  ],
  async run(context, options, [action = "list", named]) {
    const app = await context.openApp();
    const { by, reason, forMs, until } = options;
    if (action !== "pause" && (by ?? reason ?? forMs ?? until) !== undefined)
      throw new UsageError(`queues ${action} takes none of --reason, --by, --for and --until`, "they belong to `queues pause`");
    if (action === "list") {
      if (named.length > 0) throw new UsageError("queues list takes names with -Q", `-Q ${named.join(",")}`);
      return await list(context, app, options.queues, options.exclude);
    }
    const chosen = [...new Set([...named, ...(options.queues ?? [])])];
    if (chosen.length === 0) throw new UsageError(`queues ${action} needs the names of queues`, `such as \`queues ${action} mail\``);
    if (forMs !== undefined && until !== undefined) throw new UsageError("--for and --until cannot both be given");
    const pauseOptions: PauseOptions = {
      ...(reason !== undefined && { reason }),
      ...(by !== undefined && { by }),
      ...(forMs !== undefined && { for: `${forMs}ms` as const }),
      ...(until !== undefined && { until }),
    };
    return await (action === "pause" ? pause(context, app, chosen, pauseOptions) : resume(context, app, chosen));
  },
});

async function list(
  { output }: CommandContext,
  app: Lovage,
  only: readonly string[] | undefined,
  except: readonly string[] | undefined,
): Promise<void> {
  const declared = app.calls.routing.declared.map((queue) => queue.name);
  const broker = await reachBroker(app);
  const pauses = new Map(((await broker.pauses?.list()) ?? []).map((one) => [one.queue, one]));
  // One that nobody declares is shown all the same: a paused queue must not be forgotten.
  const shown = chooseQueues([...new Set([...declared, ...pauses.keys()])], only, except);
  const rows = (await broker.depth(shown)).map((depth): Row => ({ ...depth, pause: pauses.get(depth.queue) }));
  const document = rows.map(({ queue, ready, parked, onLoan, dead, pause: paused }) => ({
    queue,
    ready,
    parked,
    onLoan: onLoan ?? null,
    dead,
    paused: paused === undefined ? null : documentOf(paused),
  }));
  const columns = pauses.size > 0 ? [...COLUMNS, PAUSED] : COLUMNS;
  output.answer(document, (colors) => tableLines(rows, columns, colors));
}

async function pause({ output }: CommandContext, app: Lovage, chosen: readonly string[], options: PauseOptions): Promise<void> {
  await reachBroker(app);
  noteUnknown(output, app, chosen);
  await app.queues.pause(chosen, options);
  const paused = (await app.queues.paused()).filter(({ queue }) => chosen.includes(queue));
  output.answer(
    paused.map((one) => ({ queue: one.queue, ...documentOf(one) })),
    () =>
      paused
        .map((one) => `${one.queue} is paused ${inWords(one)}: no Lovage worker takes from it. Python workers do not heed that`)
        .join("\n"),
  );
}

async function resume({ output }: CommandContext, app: Lovage, chosen: readonly string[]): Promise<void> {
  await reachBroker(app);
  const resumed = await app.queues.resume(chosen);
  output.answer(
    chosen.map((queue) => ({ queue, wasPaused: resumed.includes(queue) })),
    () => chosen.map((queue) => (resumed.includes(queue) ? `${queue} goes on` : `${queue} was not paused`)).join("\n"),
  );
}

/** Any name is a queue; one that differs by a letter is a typo, most likely. */
function noteUnknown(output: CommandContext["output"], app: Lovage, chosen: readonly string[]): void {
  const declared = app.calls.routing.declared.map((queue) => queue.name);
  for (const name of chosen) {
    if (!declared.includes(name)) output.note(`the app declares no queue ${name}.${didYouMean(name, declared)}`);
  }
}

interface Row extends QueueDepth {
  readonly pause: QueuePause | undefined;
}

function documentOf({ reason, by, at, until }: QueuePause): Readonly<Record<string, string | null>> {
  const isoOf = (time: number): string => new Date(time).toISOString();
  return { by, reason, since: isoOf(at), until: until === undefined ? null : isoOf(until) };
}

function inWords({ reason, by, at, until }: QueuePause): string {
  const end = until === undefined ? "" : `, until ${new Date(until).toISOString()}`;
  return `by ${by} since ${new Date(at).toISOString()}${end}${reason === "" ? "" : ` (${reason})`}`;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: "queue", cell: ({ queue }) => queue },
  { title: "ready", align: "right", cell: ({ ready }) => String(ready) },
  { title: "parked", align: "right", cell: ({ parked }) => String(parked) },
  { title: "on loan", align: "right", cell: ({ onLoan }) => (onLoan === undefined ? "?" : String(onLoan)) },
  {
    title: "dead",
    align: "right",
    cell: ({ dead }) => String(dead),
    paint: (cell, { dead }, colors) => (dead > 0 ? colors.red(cell) : cell),
  },
];

const PAUSED: Column<Row> = {
  title: "paused",
  cell: ({ pause: paused }) => (paused === undefined ? "" : inWords(paused)),
  paint: (cell, _, colors) => colors.red(cell),
};
