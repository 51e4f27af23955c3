/** Drivers go on trying while their server is away, as a worker needs it. Who types a command wants to be told. */
import type { Lovage } from "../app/app.ts";
import { ResultsDisabledError } from "../app/errors.ts";
import type { Broker } from "../brokers/broker.ts";
import { BrokerUnavailableError } from "../brokers/errors.ts";
import { BackendUnavailableError } from "../results/errors.ts";
import type { Timer } from "../shared/clock.ts";
import { formatDuration } from "../shared/duration.ts";

/** The app's broker, once it has answered. @throws BrokerUnavailableError when that takes longer than making a connection may */
export async function reachBroker(app: Lovage): Promise<Broker> {
  const broker = await app.broker();
  await answered(app, broker.depth([app.settings.taskDefaultQueue]), (late) => new BrokerUnavailableError(broker.location, late));
  return broker;
}

/** Resolves once the app's result backend has answered. @throws BackendUnavailableError, ResultsDisabledError */
export async function reachBackend(app: Lovage): Promise<void> {
  const backend = await app.backend();
  if (!backend) throw new ResultsDisabledError();
  await answered(app, backend.fetch(["no-such-task"]), (late) => new BackendUnavailableError(backend.location, late));
}

/** The driver's own deadlines, where it has some, come first: their errors say more. */
async function answered(app: Lovage, answer: Promise<unknown>, giveUp: (late: Error) => Error): Promise<void> {
  const waitMs = app.settings.brokerConnectionTimeoutMs + 1000;
  let timer: Timer | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = app.clock.timer(waitMs, () => reject(giveUp(new Error(`no answer within ${formatDuration(waitMs)}`))));
  });
  answer.catch(() => undefined); // it may fail after we have given up
  try {
    await Promise.race([answer, deadline]);
  } finally {
    timer?.cancel();
  }
}
