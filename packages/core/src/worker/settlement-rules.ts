/** The rules by which all tasks of a worker are settled, from its app and what it is connected to. */
import type { Lovage } from "../app/app.ts";
import { readDeadLetterPolicy } from "../app/dead-letter-policy.ts";
import { takesFailure } from "../app/error-callback.ts";
import type { Broker } from "../brokers/broker.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import type { SettlementRules } from "./ended-run.ts";
import type { WorkflowRules } from "./workflow.ts";

export interface RulesSetup {
  readonly app: Lovage;
  /** `celery@host`. */
  readonly worker: string;
  readonly broker: Broker;
  readonly backend: ResultBackend | undefined;
}

export function settlementRulesOf({ app, worker, broker, backend }: RulesSetup): SettlementRules & { readonly workflows: WorkflowRules } {
  const { settings } = app;
  const { resultSerializer, resultExtended, maxDeliveries } = settings;
  const resultExpiresMs = settings.resultExpiresMs || undefined;
  const deadLetter = settings.taskDeadLetter ?? readDeadLetterPolicy(undefined);
  return {
    workflows: {
      resultSerializer,
      resultExpiresMs,
      takesFailure: (errback) => takesFailure(app, errback),
      encodeCalls: (calls, parent) => app.calls.planned(calls, parent).map(({ outgoing }) => outgoing),
    },
    worker,
    keepsResults: backend !== undefined,
    keepsDeadLetters: broker.deadLetters !== undefined,
    resultSerializer,
    resultExtended,
    resultExpiresMs,
    codec: { serializer: settings.taskSerializer },
    maxDeliveries,
    deadLetterOf: (queue) => settings.queueDeadLetter?.get(queue) ?? deadLetter,
  };
}
