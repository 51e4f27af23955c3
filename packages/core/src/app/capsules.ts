/** Capsules of a worker as users write them: groups of queues that have slots of their own. */
import { readQueueOrder, type QueueOrderInput, type ResolvedQueueOrder } from "./queue-order.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";

export interface CapsuleInput {
  readonly queues: string | readonly string[];
  /** Tasks at once. Default: as the worker's own. */
  readonly concurrency?: number;
  /** Default: `workerQueueOrder`. */
  readonly queueOrder?: QueueOrderInput;
}

/** By name. */
export type CapsulesInput = Readonly<Record<string, CapsuleInput>>;

export interface CapsuleDeclaration {
  readonly name: string;
  readonly queues: readonly string[];
  readonly concurrency: number | undefined;
  readonly order: ResolvedQueueOrder | undefined;
}

export const CAPSULES_ACCEPTED =
  'an object of names, with queues and perhaps concurrency and queueOrder for each: { pdf: { queues: ["pdf"], concurrency: 2 } }';

/** Of the queues that are in no capsule. */
export const OWN_CAPSULE = "default";

const CONCURRENCY_MAX = 100_000;
const KNOWN: ReadonlySet<string> = new Set(["queues", "concurrency", "queueOrder", "queue_order"]);

/** @throws NotAccepted */
export function readCapsules(value: unknown): readonly CapsuleDeclaration[] {
  if (!isPlain(value)) throw new NotAccepted();
  return Object.entries(value).map(([name, capsule]) => readCapsule(name, capsule));
}

function readCapsule(name: string, value: unknown): CapsuleDeclaration {
  if (name === "" || name === OWN_CAPSULE) throw new NotAccepted(`a capsule cannot be named ${JSON.stringify(name)}`);
  if (!isPlain(value)) throw new NotAccepted(`the capsule ${name} is no object`);
  const unknown = Object.keys(value).find((key) => !KNOWN.has(key));
  if (unknown !== undefined) throw new NotAccepted(`the capsule ${name} has ${unknown}, which means nothing`);
  const { queues, concurrency, queueOrder = value["queue_order"] } = value;
  const names: unknown[] = Array.isArray(queues) ? queues : [queues];
  if (names.length === 0 || !names.every((queue) => typeof queue === "string" && queue !== ""))
    throw new NotAccepted(`the capsule ${name} names no queues`);
  const isSize = Number.isSafeInteger(concurrency) && (concurrency as number) >= 1 && (concurrency as number) <= CONCURRENCY_MAX;
  if (concurrency !== undefined && !isSize)
    throw new NotAccepted(
      `the concurrency of the capsule ${name} is ${JSON.stringify(concurrency)}: it takes a whole number from 1 to ${CONCURRENCY_MAX}`,
    );
  return {
    name,
    queues: [...new Set(names as string[])],
    concurrency: concurrency as number | undefined,
    order: queueOrder === undefined ? undefined : readOrder(name, queueOrder),
  };
}

function readOrder(name: string, value: unknown): ResolvedQueueOrder {
  try {
    return readQueueOrder(value);
  } catch (error) {
    throw error instanceof NotAccepted ? new NotAccepted(`the queue order of the capsule ${name} is not accepted`) : error;
  }
}
