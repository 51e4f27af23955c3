/** `lovage fairness`: how the keys of a fair queue stand, what each may do; pauses one, and lets it go on. */
import type { Lovage } from "../../app/app.ts";
import type { KeyLimits } from "../../app/fair-queues.ts";
import { FairChangeError, type KeyState } from "../../brokers/fairness.ts";
import { defineCommand, type CommandContext } from "../command.ts";
import { UsageError } from "../errors.ts";
import { flag, text, wholeNumber } from "../option-kinds.ts";
import { reachBroker } from "../reach.ts";
import { tableLines, type Column } from "../table.ts";
import { countOf } from "../../shared/count-of.ts";

const ACTIONS = ["list", "set", "pause", "resume", "release"] as const;
const SHOWN = 20;

export const fairness = defineCommand({
  options: {
    weight: wholeNumber("--weight <n>", "with set: messages in each of its turns", 1, 1000),
    limit: wholeNumber("--limit <n>", "with set: messages that run at once, in all workers together", 1),
    noWeight: flag("--default-weight", "with set: the default weight again"),
    noLimit: flag("--default-limit", "with set: the default limit again"),
    reason: text("--reason <text>", "with pause: why, for whoever finds it paused"),
    by: text("--by <name>", "with pause: who (default: you, at this machine)"),
    all: flag("--all", `with list: all keys, not only the ${SHOWN} with the most waiting`),
  },
  arguments: [
    {
      name: "action",
      description: "list, set, pause, resume, or release: put what is sorted back into the queue",
      required: true,
      choices: ACTIONS,
    },
    { name: "queue", description: "which", required: true },
    { name: "key", description: "which, for pause and resume; without it, set changes the defaults", required: false },
  ],
  examples: [
    "lovage -A ./src/app.ts fairness list imports",
    "lovage fairness set imports acme --weight 3 --limit 10",
    "lovage fairness set imports --limit 5",
    'lovage fairness pause imports acme --reason "too many bad rows"',
    "lovage fairness release imports",
  ],
  async run(context, options, [action, queue, key]) {
    const { weight, limit, noWeight, noLimit, reason, by, all } = options;
    const limits: KeyLimits = {
      ...(weight !== undefined && { weight }),
      ...(limit !== undefined && { limit }),
      ...(noWeight && { weight: null }),
      ...(noLimit && { limit: null }),
    };
    const sets = Object.keys(limits).length > 0;
    if (sets !== (action === "set"))
      throw new UsageError(
        sets
          ? `fairness ${action} takes no weight and no limit`
          : "fairness set needs --weight, --limit, or --default-weight or --default-limit",
      );
    if ((weight !== undefined && noWeight) || (limit !== undefined && noLimit))
      throw new UsageError("a value and its default cannot both be set");
    if (action !== "pause" && (reason ?? by) !== undefined) throw new UsageError(`fairness ${action} takes neither --reason nor --by`);
    if ((action === "pause" || action === "resume") && key === undefined)
      throw new UsageError(`fairness ${action} needs a key`, "`lovage fairness list` names them");
    if ((action === "list" || action === "release") && key !== undefined)
      throw new UsageError(`fairness ${action} takes a queue and no key`);
    const app = await context.openApp();
    await reachBroker(app);
    if (queue === undefined) throw new UsageError("which queue?");
    try {
      if (action === "list") return await list(context, app, queue, all);
      return await change(context, app, {
        action,
        queue,
        key,
        limits,
        ...(reason !== undefined && { reason }),
        ...(by !== undefined && { by }),
      });
    } catch (error) {
      throw error instanceof FairChangeError ? new UsageError(error.message) : error;
    }
  },
});

interface Change {
  readonly action: string | undefined;
  readonly queue: string;
  readonly key: string | undefined;
  readonly limits: KeyLimits;
  readonly reason?: string;
  readonly by?: string;
}

async function change({ output }: CommandContext, app: Lovage, { action, queue, key, limits, ...pause }: Change): Promise<void> {
  if (action === "release") {
    const released = await app.fairness.release(queue);
    output.answer({ queue, released }, () => `${countOf(released, "message")} put back into ${queue}`);
    return;
  }
  if (action === "set") await (key === undefined ? app.fairness.setDefaults(queue, limits) : app.fairness.set(queue, key, limits));
  else if (key !== undefined && action === "pause") await app.fairness.pause(queue, key, pause);
  else if (key !== undefined) await app.fairness.resume(queue, key);
  const { keys, defaults } = await app.fairness.state(queue);
  const state = keys.find((each) => each.key === key);
  const { weight, limit } = state ?? defaults;
  const paused = state?.paused;
  output.answer(
    { queue, key: key ?? null, weight, limit: limit ?? null, paused: paused === undefined ? null : documentOf(paused) },
    () =>
      `${key === undefined ? `keys of ${queue} without settings of their own` : `${key || NO_KEY} of ${queue}`}: weight ${weight}, ${limit === undefined ? "no limit" : `${limit} at once`}${paused === undefined ? "" : `, paused ${inWords(paused)}`}`,
  );
}

async function list({ output }: CommandContext, app: Lovage, queue: string, all: boolean): Promise<void> {
  const { keys, hasMore, unsorted, defaults } = await app.fairness.state(queue);
  const shown = all ? keys : keys.slice(0, SHOWN);
  const document = {
    queue,
    unsorted,
    defaults: { weight: defaults.weight, limit: defaults.limit ?? null },
    keys: shown.map(({ key, waiting, running, weight, limit, paused }) => ({
      key,
      waiting,
      running,
      weight,
      limit: limit ?? null,
      paused: paused === undefined ? null : documentOf(paused),
    })),
    more: hasMore || shown.length < keys.length,
  };
  output.answer(document, (colors) => {
    const lines = shown.length === 0 ? [`no key of ${queue} has messages or settings`] : [...tableLines(shown, COLUMNS, colors)];
    if (shown.length < keys.length) lines.push(`${hasMore ? "more than " : ""}${keys.length - shown.length} more: --all shows them`);
    if (unsorted > 0) lines.push(`${countOf(unsorted, "message")} not sorted by key yet`);
    return lines;
  });
}

const NO_KEY = "(no key)";

function documentOf({ by, reason, at }: NonNullable<KeyState["paused"]>): Readonly<Record<string, string>> {
  return { by, reason, since: new Date(at).toISOString() };
}

function inWords({ by, reason, at }: NonNullable<KeyState["paused"]>): string {
  return `by ${by} since ${new Date(at).toISOString()}${reason === "" ? "" : ` (${reason})`}`;
}

const COLUMNS: readonly Column<KeyState>[] = [
  { title: "key", cell: ({ key }) => key || NO_KEY },
  { title: "waiting", align: "right", cell: ({ waiting }) => String(waiting) },
  { title: "running", align: "right", cell: ({ running }) => String(running) },
  { title: "weight", align: "right", cell: ({ weight }) => String(weight) },
  { title: "limit", align: "right", cell: ({ limit }) => (limit === undefined ? "" : String(limit)) },
  { title: "paused", cell: ({ paused }) => (paused === undefined ? "" : inWords(paused)), paint: (cell, _, colors) => colors.red(cell) },
];
