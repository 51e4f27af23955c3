/** Publishes messages, some of which are unique. */
import { setMaxListeners } from "node:events";
import type { Broker, Outgoing, PublishFate, PublishOptions } from "../brokers/broker.ts";
import { BrokerOutOfMemoryError, BrokerRefusedError, BrokerUnavailableError, PublishError } from "../brokers/errors.ts";
import { UnsupportedByBrokerError } from "./errors.ts";

/** Unique ones on their way to the broker at once. */
const AT_ONCE = 64;

/**
 * As `Broker.publish`, with the locks of those that are unique. A duplicate counts as held: the task that stands for it is.
 * @param duplicate told which of the messages is one, and of which task
 * @throws PublishError
 */
export async function publishUnique(
  broker: Broker,
  messages: readonly Outgoing[],
  options: PublishOptions,
  duplicate: (index: number, taskId: string) => void = () => undefined,
): Promise<void> {
  const { uniques } = broker;
  const cause = new Causes();
  const fates: PublishFate[] = messages.map(() => "held");
  const plain = messages.flatMap(({ unique }, i) => (unique === undefined ? [i] : []));
  const waiting = messages.flatMap(({ unique }, i) => (unique === undefined ? [] : [i]));
  if (uniques === undefined && waiting.length > 0) throw new UnsupportedByBrokerError("unique tasks", broker.kind);
  if (options.signal !== undefined) setMaxListeners(0, options.signal); // each of those at once may wait with it
  const next = async (): Promise<void> => {
    for (let i = waiting.shift(); i !== undefined; i = waiting.shift()) {
      try {
        const answer = await uniques?.publish(messages[i] as Outgoing, options);
        if (answer?.isDuplicate) duplicate(i, answer.id);
      } catch (error) {
        fates[i] = cause.note(error);
      }
    }
  };
  const others = async (): Promise<void> => {
    try {
      if (plain.length > 0) await broker.publish(plain.map((i) => messages[i] as Outgoing), options); // prettier-ignore
    } catch (error) {
      const fate = cause.note(error);
      plain.forEach((i, at) => (fates[i] = error instanceof PublishError ? (error.fates[at] ?? fate) : fate));
    }
  };
  await Promise.all([others(), ...Array.from({ length: Math.min(AT_ONCE, waiting.length) }, next)]);
  if (cause.isAny) throw new PublishError(broker.location, fates, cause.first);
}

class Causes {
  isAny = false;
  first: unknown;

  note(error: unknown): PublishFate {
    if (!this.isAny) this.first = error instanceof PublishError ? error.cause : error;
    this.isAny = true;
    const isRefusal =
      error instanceof BrokerUnavailableError || error instanceof BrokerRefusedError || error instanceof BrokerOutOfMemoryError;
    return isRefusal ? "refused" : "unknown";
  }
}
