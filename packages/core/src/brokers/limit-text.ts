/** A limit's spec as the stores keep it: `interval in ms | burst | concurrency`, nothing for what it does not limit; `-` for no limit at all. */
import type { LimitSpec } from "./limits.ts";

export const NO_LIMIT = "-";

export function limitText(spec: LimitSpec | null): string {
  return spec === null ? NO_LIMIT : `${spec.intervalMs ?? ""}|${spec.burst}|${spec.concurrency ?? ""}`;
}

/** null: no limit. undefined for what cannot be read: somebody wrote it by hand. */
export function readLimitText(text: string): LimitSpec | null | undefined {
  if (text === NO_LIMIT) return null;
  const [interval = "", burst = "", concurrency = ""] = text.split("|");
  const spec = {
    intervalMs: interval === "" ? undefined : Number(interval),
    burst: Number(burst),
    concurrency: concurrency === "" ? undefined : Number(concurrency),
  };
  const isRead = [spec.intervalMs ?? 1, spec.burst, spec.concurrency ?? 0].every(Number.isFinite) && spec.burst >= 1;
  return isRead ? spec : undefined;
}
