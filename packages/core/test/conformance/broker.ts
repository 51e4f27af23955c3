/**
 * What every broker does. A driver runs it with a stand of its own: one store, and as many brokers on it as a test opens, as if
 * each were another process. Times are real and short.
 */
import { afterEach, beforeEach, describe } from "vitest";

import type { Broker } from "../../src/brokers/broker.ts";
import type { ResultBackend } from "../../src/results/result-backend.ts";
import { aggregatesConformance } from "./aggregates.ts";
import { checkpointsConformance } from "./checkpoints.ts";
import { deadLettersConformance } from "./dead-letters.ts";
import { dueAndSearchConformance } from "./due-and-search.ts";
import { exchangesConformance } from "./exchanges.ts";
import { fairnessConformance } from "./fairness.ts";
import { groupSettlementConformance } from "./groups.ts";
import { historyConformance } from "./history.ts";
import { leasesConformance } from "./leases.ts";
import { lossesConformance } from "./losses.ts";
import { limitsConformance } from "./limits.ts";
import { loanEndsConformance } from "./loan-ends.ts";
import { orderConformance } from "./order.ts";
import { pausesConformance } from "./pauses.ts";
import { plainQueuesConformance } from "./plain-queues.ts";
import { revocationsConformance } from "./revocations.ts";
import { type BrokerStand, LEASE_MS, sweepAway } from "./scene.ts";
import { uniquesConformance } from "./uniques.ts";

export function brokerConformance(name: string, openStand: () => Promise<BrokerStand>): void {
  describe(`broker conformance: ${name}`, () => {
    let stand: BrokerStand;
    let broker: Broker;

    beforeEach(async () => {
      stand = await openStand();
      broker = await stand.open();
    });
    afterEach(async () => {
      await stand[Symbol.asyncDispose]();
    });

    const scene = () => ({ stand, broker });
    const withBackend = () => ({
      broker,
      openBackend: async () => await (stand.openBackend as () => Promise<ResultBackend>)(),
      open: async () => await stand.open(),
    });
    const withLeases = { broker: () => broker, open: async () => await stand.open(), sweepAway, leaseMs: LEASE_MS };

    plainQueuesConformance(scene);
    loanEndsConformance(scene);
    deadLettersConformance(scene);
    leasesConformance(scene);
    lossesConformance(scene);
    exchangesConformance(scene);
    groupSettlementConformance(withBackend);
    describe("groups of messages", () => aggregatesConformance(withLeases));
    describe("checkpoints", () => checkpointsConformance(withLeases));
    dueAndSearchConformance(withBackend);
    revocationsConformance(() => stand);
    pausesConformance(() => stand);
    uniquesConformance(() => stand);
    fairnessConformance(
      () => stand,
      () => broker,
    );
    limitsConformance(() => stand);
    orderConformance(() => stand);
    historyConformance(scene);
  });
}
