/** `lovage retry-preview`: after which delays a task's failures would be retried, without running anything. */
import type { ResolvedRetry } from "../../app/task-options.ts";
import { backoffDelayMs, backoffRangeMs } from "../../app/retry-plan.ts";
import { formatDuration } from "../../shared/duration.ts";
import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { wholeNumber } from "../option-kinds.ts";
import { tableLines, type Column } from "../table.ts";

/** Shown of a task that is retried for ever. */
const ATTEMPTS = 10;

interface PreviewRow {
  /** The first attempt is 1 and waits for nothing. */
  readonly attempt: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** One delay of the range, by the seed. */
  readonly exampleMs: number;
  /** From the first attempt, if the attempts took no time. */
  readonly afterMinMs: number;
  readonly afterMaxMs: number;
}

export const retryPreview = defineCommand({
  options: {
    attempts: wholeNumber(
      "--attempts <number>",
      `show so many attempts at most (default: all; ${ATTEMPTS} where there is no limit)`,
      1,
      1000,
    ),
    seed: wholeNumber("--seed <number>", "of the examples; the same seed gives the same ones (default: 1)", 0, 2 ** 32 - 1),
  },
  arguments: [{ name: "task", description: "name of the task", required: true }],
  examples: ["lovage -A ./src/app.ts retry-preview shop.charge", "lovage -A ./src/app.ts retry-preview shop.charge --attempts 5 --json"],
  async run({ openApp, output }, { attempts, seed = 1 }, [name]) {
    const app = await openApp();
    const task = app.tasks.get(name);
    if (task === undefined) throw new UsageError(`this app has no task ${JSON.stringify(name)}; it has ${app.tasks.names().join(", ")}`);
    const { retry } = task.options;
    const all = retry.maxRetries === undefined ? ATTEMPTS : retry.maxRetries + 1;
    const rows = previewRetries(retry, Math.min(attempts ?? all, retry.maxRetries === undefined ? 1000 : all), seed);
    const maxElapsedMs = retry.maxElapsedMs ?? null;
    const document = {
      task: name,
      retriesByItself: retry.matches !== "none",
      maxRetries: retry.maxRetries ?? null,
      maxElapsedMs,
      attempts: rows,
    };
    output.answer(document, (colors) => tableLines(rows, COLUMNS, colors));
    for (const remark of remarks(name, retry)) output.note(remark);
  },
});

/** Pure. A policy whose backoff is a function cannot be told beforehand: it has its first attempt only. */
export function previewRetries(retry: ResolvedRetry, attempts: number, seed: number): PreviewRow[] {
  const backoff = retry.matches === "none" ? retry.byHand : retry.backoff;
  const random = seededRandom(seed);
  const rows: PreviewRow[] = [{ attempt: 1, minMs: 0, maxMs: 0, exampleMs: 0, afterMinMs: 0, afterMaxMs: 0 }];
  if (backoff.kind === "function") return rows;
  let [longestMs, lastExampleMs, afterMinMs, afterMaxMs] = [backoff.baseMs, backoff.baseMs, 0, 0];
  for (let attempt = 2; attempt <= attempts; attempt++) {
    const [minMs, maxMs] = backoffRangeMs(backoff, attempt - 2, longestMs);
    if (retry.maxElapsedMs !== undefined && afterMinMs + minMs > retry.maxElapsedMs) break;
    lastExampleMs = backoffDelayMs(backoff, attempt - 2, random, lastExampleMs);
    longestMs = maxMs;
    afterMinMs += minMs;
    afterMaxMs += maxMs;
    rows.push({
      attempt,
      minMs,
      maxMs,
      exampleMs: lastExampleMs,
      afterMinMs,
      afterMaxMs: Math.min(afterMaxMs, retry.maxElapsedMs ?? Infinity),
    });
  }
  return rows;
}

const COLUMNS: readonly Column<PreviewRow>[] = [
  { title: "attempt", align: "right", cell: ({ attempt }) => String(attempt) },
  { title: "delay", align: "right", cell: ({ minMs, maxMs }) => rangeText(minMs, maxMs) },
  { title: "for example", align: "right", cell: ({ exampleMs }) => formatDuration(exampleMs) },
  { title: "after the first", align: "right", cell: ({ afterMinMs, afterMaxMs }) => rangeText(afterMinMs, afterMaxMs) },
];

function rangeText(minMs: number, maxMs: number): string {
  return minMs === maxMs ? formatDuration(minMs) : `${formatDuration(minMs)} .. ${formatDuration(maxMs)}`;
}

function remarks(name: string, { matches, byHand, backoff, maxRetries, maxElapsedMs }: ResolvedRetry): string[] {
  const inForce = matches === "none" ? byHand : backoff;
  return [
    ...(matches === "none" ? [`${name} is retried only where it asks for it with ctx.retry().`] : []),
    ...(inForce.kind === "function" ? ["Its delays come from a function of its own, which cannot be told beforehand."] : []),
    ...(maxRetries === undefined ? ["It is retried without a limit of attempts."] : []),
    ...(maxElapsedMs === undefined ? [] : [`No attempt begins later than ${formatDuration(maxElapsedMs)} after the first.`]),
  ];
}

/** mulberry32: small, and the same everywhere. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
