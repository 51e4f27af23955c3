/** `lovage dlq`: dead letters, shown, put back, changed, discarded, exported. */
import { isUtf8 } from "node:buffer";
import {
  DEAD_LETTER_REASONS,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterReason,
  type DeadLetters,
} from "../../brokers/broker.ts";
import { defineCommand, type CommandContext } from "../command.ts";
import { chooseQueues } from "../choose-queues.ts";
import { UsageError } from "../errors.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { durationMs, flag, json, names, rate, wholeNumber } from "../option-kinds.ts";
import type * as Letters from "../letters.ts";
import type { Colors } from "../output.ts";
import { tableLines, type Column } from "../table.ts";
import { countOf } from "../../shared/count-of.ts";

const ACTIONS = ["list", "count", "show", "retry", "edit", "purge", "export"] as const;

export const dlq = defineCommand({
  options: {
    queues: names("-Q, --queues <names>", "dead letters of these queues, separated by commas (default: those of the app)"),
    tasks: names("--task <names>", "only of these tasks"),
    reasons: names("--reason <names>", `only for these reasons: ${DEAD_LETTER_REASONS.join(", ")}`),
    newerMs: durationMs("--newer-than <duration>", "only those given up within this time"),
    olderMs: durationMs("--older-than <duration>", "only those given up longer ago than this"),
    ids: names("--id <ids>", "only these"),
    all: flag("--all", "with retry or purge: all of them"),
    rate: rate("--rate <rate>", "with retry: at most so many, such as 10/s"),
    limit: wholeNumber("--limit <number>", "with list or export: at most so many (list: 50)", 1),
    args: json("-a, --args <json>", "with edit: other positional arguments, instead of an editor", "an array"),
    kwargs: json("-k, --kwargs <json>", "with edit: other named arguments, instead of an editor", "an object"),
  },
  arguments: [
    { name: "action", description: ACTIONS.join(", "), required: true, choices: ACTIONS },
    { name: "id", description: "the letter that is meant: the id of the task", required: false },
  ],
  examples: [
    "lovage -A ./src/app.ts dlq list --reason poison,failed",
    "lovage -A ./src/app.ts dlq show 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e",
    "lovage -A ./src/app.ts dlq retry --task mail.send --newer-than 2h --rate 10/s",
    "lovage -A ./src/app.ts dlq edit 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e --args '[3]'",
    "lovage -A ./src/app.ts dlq purge --older-than 30d",
    "lovage -A ./src/app.ts dlq export -Q mail > dead.jsonl",
  ],
  async run(context, options, [action, id]) {
    const [{ reachBroker }, found] = await Promise.all([import("../reach.ts"), import("../letters.ts")]);
    const app = await context.openApp();
    const declared = app.calls.routing.declared.map((queue) => queue.name);
    const queues = chooseQueues(declared, options.queues, undefined);
    const broker = await reachBroker(app);
    const letters = found.deadLettersOf(broker);
    const now = app.clock.now();
    const filter: DeadLetterFilter = {
      ...(options.tasks && { tasks: options.tasks }),
      ...(options.reasons && { reasons: readReasons(options.reasons) }),
      ...(options.newerMs !== undefined && { since: now - options.newerMs }),
      ...(options.olderMs !== undefined && { before: now - options.olderMs }),
    };
    const ids = [...(id === undefined ? [] : [id]), ...(options.ids ?? [])];
    const call: Call = { context, letters, queues, filter, ids, found };
    switch (action as (typeof ACTIONS)[number]) {
      case "list":
        return await list(call, options.limit ?? 50);
      case "count":
        return await countLetters(call);
      case "show":
        return await show(call);
      case "retry":
        requireChoice(call, "retry", options.all);
        return await retry(call, { clock: app.clock, perSecond: options.rate });
      case "edit":
        return await edit(call, options.args, options.kwargs);
      case "purge":
        requireChoice(call, "purge", options.all);
        return await purge(call);
      case "export":
        return await exportLetters(call, options.limit ?? Infinity);
    }
  },
});

interface Call {
  readonly context: CommandContext;
  readonly letters: DeadLetters;
  readonly queues: readonly string[];
  readonly filter: DeadLetterFilter;
  readonly ids: readonly string[];
  readonly found: typeof Letters;
}

async function list(call: Call, limit: number): Promise<ExitCode> {
  const { output } = call.context;
  const shown: DeadLetter[] = [];
  let isMore = false;
  for await (const letter of chosen(call)) {
    if (shown.length === limit) {
      isMore = true;
      break;
    }
    shown.push(letter);
  }
  output.answer(shown.map(facts), (colors) => (shown.length === 0 ? "no dead letters" : tableLines(shown, COLUMNS, colors)));
  if (isMore) output.note(`there are more: --limit shows them, \`dlq count\` counts them`);
  return EXIT.ok;
}

async function countLetters({ context, letters, queues, filter }: Call): Promise<ExitCode> {
  const rows: { queue: string; reason: string; count: number }[] = [];
  for (const queue of queues)
    for (const [reason, number] of Object.entries(await letters.count(queue, filter))) rows.push({ queue, reason, count: number });
  const columns: readonly Column<(typeof rows)[number]>[] = [
    { title: "queue", cell: ({ queue }) => queue },
    { title: "reason", cell: ({ reason }) => reason },
    { title: "letters", align: "right", cell: (row) => String(row.count) },
  ];
  context.output.answer(rows, (colors) => (rows.length === 0 ? "no dead letters" : tableLines(rows, columns, colors)));
  return EXIT.ok;
}

async function show(call: Call): Promise<ExitCode> {
  const letter = await theOne(call, "show");
  if (letter === undefined) return EXIT.failure;
  const body = call.found.argumentsOf(letter);
  const { encodeJson } = await import("../../protocol/json.ts");
  const args = body && encodeJson(body.args);
  const kwargs = body && encodeJson(body.kwargs);
  call.context.output.answer({ ...facts(letter), args: body?.args ?? null, kwargs: body?.kwargs ?? null, ...rawOf(letter) }, (colors) => [
    ...Object.entries(facts(letter)).map(([name, value]) => `${colors.bold(name.padEnd(8))} ${value ?? ""}`.trimEnd()),
    `${colors.bold("args    ")} ${args ?? "(cannot be decoded)"}`,
    `${colors.bold("kwargs  ")} ${kwargs ?? "(cannot be decoded)"}`,
    ...(letter.stack === undefined ? [] : [letter.stack]),
  ]);
  return EXIT.ok;
}

async function retry(
  call: Call,
  how: { readonly clock: Parameters<typeof call.found.replay>[2]["clock"]; readonly perSecond: number | undefined },
) {
  const { output, signal } = call.context;
  const restored = await call.found.replay(call.letters, chosen(call), { ...how, signal });
  output.answer({ restored }, () => `${letterCount(restored)} put back`);
  return signal.aborted || (call.ids.length > 0 && restored < call.ids.length) ? EXIT.failure : EXIT.ok;
}

/** Changed and put back in one step: what is edited and stays among the dead is easily forgotten. */
async function edit(call: Call, args: string | undefined, kwargs: string | undefined): Promise<ExitCode> {
  const { output, env } = call.context;
  const letter = await theOne(call, "edit");
  if (letter === undefined) return EXIT.failure;
  const body = call.found.argumentsOf(letter);
  if (body === undefined)
    throw new UsageError(`${letter.id} cannot be decoded, so its arguments cannot be edited`, "`dlq export` gives its bytes");
  const [{ editArguments }, { argumentsText, editInEditor, readArguments }, { decodeJson }] = await Promise.all([
    import("../../protocol/edit-arguments.ts"),
    import("../edit-letter.ts"),
    import("../../protocol/json.ts"),
  ]);
  let edited = {
    args: args === undefined ? body.args : (decodeJson(args) as readonly unknown[]), // the options' parsers saw a list,
    kwargs: kwargs === undefined ? body.kwargs : (decodeJson(kwargs) as Record<string, unknown>), // and an object
  };
  if (args === undefined && kwargs === undefined) {
    if (!output.isInteractive(process.stdin)) throw new UsageError("no editor can be opened here", "give --args or --kwargs");
    const written = await editInEditor(argumentsText(body), env["VISUAL"] || env["EDITOR"] || "vi");
    if (written === undefined) {
      output.note("Nothing was changed, and the dead letter stays where it is.");
      return EXIT.failure;
    }
    edited = readArguments(written);
  }
  const isRestored = await call.letters.restore(letter.queue, letter.id, { raw: editArguments(letter.raw, edited) });
  if (!isRestored) output.problem(`${letter.id} is gone since it was read`);
  else output.answer({ id: letter.id, queue: letter.queue }, () => `${letter.id} put back in ${letter.queue} with other arguments`);
  return isRestored ? EXIT.ok : EXIT.failure;
}

async function purge(call: Call): Promise<ExitCode> {
  const { letters, queues, filter, ids } = call;
  let purged = 0;
  if (ids.length === 0) for (const queue of queues) purged += await letters.purge(queue, filter);
  else for await (const { queue, id } of chosen(call)) if (await letters.remove(queue, id)) purged++;
  call.context.output.answer({ purged }, () => `${letterCount(purged)} discarded`);
  return purged < ids.length ? EXIT.failure : EXIT.ok;
}

/** A line of JSON each, with or without --json, written as they are read. */
async function exportLetters(call: Call, limit: number): Promise<ExitCode> {
  let written = 0;
  for await (const letter of chosen(call)) {
    if (written++ === limit || call.context.signal.aborted) break;
    const line = `${JSON.stringify({ ...facts(letter), stack: letter.stack ?? null, ...rawOf(letter) })}\n`;
    if (!process.stdout.write(line)) await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
  return EXIT.ok;
}

/** Those named by id, else those that match. */
async function* chosen({ letters, queues, filter, ids, found, context }: Call): AsyncGenerator<DeadLetter, void> {
  if (ids.length === 0) return yield* found.eachLetter(letters, queues, filter);
  for (const id of ids) {
    const letter = await found.findLetter(letters, queues, id);
    if (letter === undefined) context.output.problem(`no dead letter ${id} in ${queues.join(", ")}`);
    else yield letter;
  }
}

async function theOne(call: Call, action: string): Promise<DeadLetter | undefined> {
  if (call.ids.length !== 1) throw new UsageError(`dlq ${action} needs one id`, "`lovage dlq list` shows them");
  for await (const letter of chosen(call)) return letter;
  return undefined;
}

/** Nobody should put back or discard everything for having forgotten a word. */
function requireChoice({ filter, ids }: Call, action: string, all: boolean): void {
  if (all || ids.length > 0 || Object.keys(filter).length > 0) return;
  throw new UsageError(`dlq ${action} does not know which`, "give an id, --task, --reason, --newer-than, --older-than or --all");
}

function readReasons(given: readonly string[]): readonly DeadLetterReason[] {
  return given.map((name) => {
    const reason = DEAD_LETTER_REASONS.find((each) => each.toLowerCase() === name.toLowerCase());
    if (reason === undefined) throw new UsageError(`--reason ${name} is none of ${DEAD_LETTER_REASONS.join(", ")}`);
    return reason;
  });
}

function facts({ id, task, queue, reason, error, worker, at, retries, losses }: DeadLetter) {
  return { id, task: task ?? null, queue, reason, error, worker, at: new Date(at).toISOString(), retries, losses };
}

/** The bytes as they are kept: as text, or in base64 where they are none. */
function rawOf({ raw }: DeadLetter): { readonly raw: string } | { readonly rawBase64: string } {
  if (typeof raw === "string") return { raw };
  return isUtf8(raw) ? { raw: Buffer.from(raw).toString() } : { rawBase64: Buffer.from(raw).toString("base64") };
}

const letterCount = (number: number): string => countOf(number, "dead letter");

const COLUMNS: readonly Column<DeadLetter>[] = [
  { title: "id", cell: ({ id }) => id },
  { title: "task", cell: ({ task }) => task ?? "?" },
  { title: "queue", cell: ({ queue }) => queue },
  { title: "reason", cell: ({ reason }) => reason, paint: (cell, _, colors: Colors) => colors.red(cell) },
  { title: "at", cell: ({ at }) => new Date(at).toISOString() },
  { title: "retries", align: "right", cell: ({ retries }) => String(retries) },
  { title: "error", cell: ({ error }) => (error.length > 80 ? `${error.slice(0, 79)}…` : error) },
];
