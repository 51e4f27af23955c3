/** What the parts of the suite for brokers share: a store, one broker on it, and what is done with them again and again. */
import type { Broker, DeadLetterRecord, Delivery } from "../../src/brokers/broker.ts";
import type { DeadLetterCapsSpec } from "../../src/brokers/dead-letter-filter.ts";
import type { RevocationCapsSpec } from "../../src/brokers/revocation-caps.ts";
import type { ResultBackend } from "../../src/results/result-backend.ts";
import { idOf, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";

export interface BrokerStand extends AsyncDisposable {
  /** Another broker on the same store. The stand closes it. */
  open(caps?: DeadLetterCapsSpec & RevocationCapsSpec): Promise<Broker>;
  /** A result backend on the same store, where `settlesWith` is to be true. */
  openBackend?(): Promise<ResultBackend>;
  /** Puts a text into a queue as a foreign producer would, at the end that is taken last. */
  inject?(queue: string, raw: string | Uint8Array): Promise<void>;
}

/** Of one test. */
export interface Scene {
  readonly stand: BrokerStand;
  readonly broker: Broker;
}

export const LEASE_MS = 300;
const SWEEPING = { maxDeliveries: 3, leaseMs: LEASE_MS, visibilityTimeoutMs: 3_600_000 };

/** Values that a careless round trip through a JSON parser changes. */
export const DELICATE = { long: 12345678901234567890n, empty: [], none: {}, nothing: null, text: 'é\u2028"\\' };

export async function publish(broker: Broker, queue: string, ...ids: readonly string[]): Promise<void> {
  await broker.publish(ids.map((id) => toQueue(queue, { id })));
}

export async function ready(broker: Broker, queue: string): Promise<number> {
  return (await broker.depth([queue]))[0]?.ready ?? Number.NaN;
}

export const deadRecord = (id: string): DeadLetterRecord => ({
  id,
  task: "tests.add",
  reason: "rejected",
  error: "no",
  worker: "one",
  at: 1_700_000_000_000,
  losses: 0,
  retries: 0,
});

export async function bury(broker: Broker, deliveries: readonly Delivery[], record: Partial<DeadLetterRecord> = {}): Promise<void> {
  for (const delivery of deliveries)
    await broker.settle([{ delivery, end: { kind: "deadLetter", record: { ...deadRecord(idOf(delivery)), ...record } } }]);
}

/** What `worker` held is swept by another process, as after its death. */
export async function sweepAway(
  worker: string,
  sweeper: Broker,
  maxDeliveries = SWEEPING.maxDeliveries,
): Promise<{ returned: number; deadLettered: number }> {
  return await eventually(`the sweep of ${worker}`, async () => {
    const report = await sweeper.leases?.sweep({ ...SWEEPING, maxDeliveries });
    return report?.workers.includes(worker) ? { returned: report.returned, deadLettered: report.deadLettered } : undefined;
  });
}
