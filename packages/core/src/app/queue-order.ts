/** In which order a worker takes from its queues, as users write it. */
import type { QueueOrder } from "../brokers/queue-order.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";

/** Equal shares; one queue before the next; or a weight for each. */
export type QueueOrderInput = "fair" | "strict" | Readonly<Record<string, number>>;

export type ResolvedQueueOrder = QueueOrder | { readonly kind: "fair" };

export const QUEUE_ORDER_ACCEPTED =
  '"fair", "strict", or weights of queues from 1 to 1000: { critical: 6, low: 1 }, or the text "critical:6,low:1"';

const WEIGHT_MAX = 1000;
const WEIGHTED = /^(.+):(\d{1,4})$/;

/** @throws NotAccepted */
export function readQueueOrder(value: unknown): ResolvedQueueOrder {
  if (value === "fair" || value === "strict") return { kind: value };
  const weights = typeof value === "string" ? readWeighted(value.split(",").map((part) => part.trim())) : entriesOf(value);
  if (weights === undefined || weights.size === 0) throw new NotAccepted();
  for (const [queue, weight] of weights)
    if (!isWeight(weight)) throw new NotAccepted(`the weight of ${queue} is ${JSON.stringify(weight)}`);
  return { kind: "weighted", weights };
}

/** `critical:6`, `low:1`: queues with weights; undefined unless each of them has one. */
export function readWeighted(names: readonly string[]): ReadonlyMap<string, number> | undefined {
  const weights = new Map<string, number>();
  for (const name of names) {
    const [, queue, weight] = WEIGHTED.exec(name) ?? [];
    if (queue === undefined || !isWeight(Number(weight))) return undefined;
    weights.set(queue, Number(weight));
  }
  return weights;
}

function entriesOf(value: unknown): ReadonlyMap<string, number> | undefined {
  return isPlain(value) ? new Map(Object.entries(value) as [string, number][]) : undefined; // checked by the caller
}

const isWeight = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= WEIGHT_MAX;
