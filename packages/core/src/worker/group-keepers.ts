/** What looks after groups and batches in a worker: ends those that are complete, finds what others left, hears of their members. */
import type { Lovage } from "../app/app.ts";
import type { Broker } from "../brokers/broker.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import type { Logger } from "../shared/log.ts";
import { BatchKeeper } from "./batch-keeper.ts";
import { BatchReports } from "./batch-reports.ts";
import { Chords } from "./chords.ts";
import { QuietGroups } from "./quiet-groups.ts";
import type { WorkflowRules } from "./workflow.ts";

export interface GroupKeepers {
  readonly chords: Chords;
  /** undefined: the backend keeps no batches. */
  readonly batchKeeper: BatchKeeper | undefined;
  readonly batches: BatchReports | undefined;
}

export interface GroupKeepersSetup {
  readonly app: Lovage;
  readonly broker: Broker;
  readonly backend: ResultBackend;
  /** Of the worker. */
  readonly queues: readonly string[];
  readonly workflows: WorkflowRules;
  readonly logger: Logger;
  /** ms since 1970, by the broker's clock. */
  brokerNow(): number;
}

export function makeGroupKeepers(setup: GroupKeepersSetup): GroupKeepers {
  const { app, broker, backend, queues, workflows, logger } = setup;
  const { settings, clock, random } = app;
  const { resultSerializer, resultExpiresMs } = workflows;
  const brokerNow = (): number => setup.brokerNow();
  const accept = contentTypesFor(settings.resultAcceptContent ?? settings.acceptContent);
  const shared = { broker, backend, clock, random, logger, accept, brokerNow };
  const searched = [...new Set([...queues, ...app.calls.routing.declared.map(({ name }) => name)])];
  const lostAfterMs = settings.chordLostAfterMs;
  const quiet = new QuietGroups({ ...shared, resultSerializer, resultExpiresMs, queues: searched, lostAfterMs });
  const home = queues[0] ?? settings.taskDefaultQueue;
  const chords = new Chords({ ...shared, quiet, rules: workflows, home });
  const { batches } = backend;
  if (batches === undefined) return { chords, batchKeeper: undefined, batches: undefined };
  const keeper = new BatchKeeper({
    ...shared,
    batches,
    queues,
    resultSerializer,
    resultExpiresMs,
    encodeCalls: (calls) => app.calls.planned(calls, undefined).map(({ outgoing }) => outgoing),
  });
  return { chords, batchKeeper: keeper, batches: new BatchReports(batches, () => keeper.kick()) };
}
