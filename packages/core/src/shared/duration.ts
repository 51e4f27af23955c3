/**
 * Durations as users write them: a number is seconds, as in Celery; a text names its unit. Inside Lovage they are
 * milliseconds, in names that end in `Ms`.
 */
export type Duration = number | DurationText;
export type DurationText = `${number}${DurationUnit}`;
export type DurationUnit = "ms" | "s" | "m" | "h" | "d";

/** For error messages. */
export const DURATION_ACCEPTED = 'a number of seconds, or a text such as "250ms", "90s", "15m", "2h" or "1d"';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds (possibly a fraction), or undefined when it is no duration. Negative and infinite ones are none. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === "number") return value >= 0 && Number.isFinite(value) ? value * 1000 : undefined;
  if (typeof value !== "string") return undefined;
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d)\s*$/.exec(value);
  if (!match) return undefined;
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** The shortest exact text: 90000 is "90s", 5400000 is "90m", 7200000 is "2h". */
export function formatDuration(ms: number): string {
  for (const unit of ["d", "h", "m", "s"]) {
    const size = UNIT_MS[unit] as number;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return ms === 0 ? "0s" : ms > 1000 ? `${ms / 1000}s` : `${ms}ms`;
}

/** For people, as Celery writes delays: whole seconds, and short ones to the millisecond. */
export function delaySeconds(ms: number): number {
  return ms < 10_000 ? Math.round(ms) / 1000 : Math.round(ms / 1000);
}
