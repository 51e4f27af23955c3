/** Rates as Celery writes them: a number is per second, and `"10/s"`, `"100/m"`, `"5/h"` say it in words. */

/** What texts and numbers are a rate, for messages. */
export const RATE_ACCEPTED = 'a number per second, or a text such as "10/s", "100/m" or "5/h"';

/** Starts per second, at least 0; undefined for what is no rate. 0 is for the caller to read: Celery's word for no limit. */
export function parseRate(rate: unknown): number | undefined {
  if (typeof rate === "number") return Number.isFinite(rate) && rate >= 0 ? rate : undefined;
  if (typeof rate !== "string") return undefined;
  const match = /^(\d+(?:\.\d+)?)(?:\/([smh]))?$/.exec(rate);
  if (!match) return undefined;
  const per = match[2] === "h" ? 3600 : match[2] === "m" ? 60 : 1;
  return Number(match[1]) / per;
}
