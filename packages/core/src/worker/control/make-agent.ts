/** Puts a worker and its engine under remote control. */
import { storeRevoked } from "../../app/revoked-results.ts";
import type { Broker } from "../../brokers/broker.ts";
import { contentTypesFor } from "../../protocol/serializers.ts";
import { errorText } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import type { Engine } from "../engine.ts";
import { isStopping } from "../life.ts";
import type { Worker } from "../worker.ts";
import { ControlAgent } from "./agent.ts";
import type { ControlledNode } from "./command.ts";

/** Whether `makeAgent` would make one. */
export function isControlled({ app: { settings } }: Pick<Worker, "app">, broker: Broker): boolean {
  return settings.workerEnableRemoteControl && broker.broadcast !== undefined;
}

/** undefined where there is no remote control. */
export function makeAgent(worker: Worker, engine: Engine, broker: Broker, logger: Logger): ControlAgent | undefined {
  const { settings, clock } = worker.app;
  if (settings.workerStateDb !== null)
    logger.warn({}, "workerStateDb has no effect: the broker remembers revoked tasks for all workers, as long as revocationTtl says");
  if (!isControlled(worker, broker) || broker.broadcast === undefined) return undefined;
  return new ControlAgent({
    broadcast: broker.broadcast,
    node: controlled(worker, engine, logger),
    namespace: settings.controlExchange,
    accept: contentTypesFor(settings.acceptContent),
    serializer: settings.taskSerializer,
    clock,
    logger,
    brokerNow: () => engine.brokerNow(),
    subscribed: () => {
      engine.revocations.refresh();
      engine.limitsChanged();
    },
  });
}

function controlled(worker: Worker, engine: Engine, logger: Logger): ControlledNode {
  const { app, name } = worker;
  return {
    name,
    lamport: app.lamport,
    logger,
    revoke: (marks, isKept) => engine.revocations.revoke(marks, isKept),
    terminate: (marks, how) => engine.terminate(marks, how),
    storeRevoked: async (ids) => {
      try {
        await storeRevoked(app, ids);
      } catch (error) {
        logger.warn({ err: error }, `the results of revoked tasks do not say so yet: ${errorText(error)}`);
      }
    },
    revokedMarks: () => engine.revocations.marks(),
    setRate: (task, perSecond) => engine.setRate(task, perSecond),
    limitsChanged: () => engine.limitsChanged(),
    shutdown() {
      if (!isStopping(worker.status().state)) void worker.stop(); // asked twice it would hurry
    },
    quiet: () => void worker.quiet(),
    resume: () => void worker.resume(),
  };
}
