/** What tests of brokers do by hand: make messages, take some, settle them. */
import type { Broker, ConsumeOptions, Credit, Delivery, LoanEnd, Outgoing } from "../../src/brokers/broker.ts";
import type { Message } from "../../src/protocol/message.ts";
import { onAbort } from "../../src/shared/abort.ts";

export interface MessageParts {
  readonly id: string;
  readonly priority?: number;
  readonly headers?: Readonly<Record<string, unknown>>;
}

export function makeMessage({ id, priority = 0, headers = {} }: MessageParts): Message {
  return {
    headers: { lang: "py", task: "tests.add", id, ...headers },
    properties: { correlationId: id, replyTo: undefined, deliveryMode: 2, priority, expirationMs: undefined, others: {} },
    contentType: "application/json",
    contentEncoding: "utf-8",
    body: Buffer.from('[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'),
  };
}

export const toQueue = (queue: string, parts: MessageParts): Outgoing => ({ message: makeMessage(parts), exchange: "", routingKey: queue });

export const idOf = (delivery: Delivery): string => String(delivery.open().message.headers["id"]);

/** Slots that are taken by what was yielded, until they are given back. */
export class Slots implements Credit {
  #free: number;
  #waiting: (() => void)[] = [];

  constructor(free: number) {
    this.#free = free;
  }

  free(): number {
    return this.#free;
  }

  take(count: number): void {
    this.#free -= count;
  }

  give(count: number): void {
    this.#free += count;
    if (this.#free > 0) for (const wake of this.#waiting.splice(0)) wake();
  }

  async whenFree(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) return;
    await new Promise<void>((resolve, reject) => {
      const stopListening = onAbort(signal, () => reject(signal.reason));
      this.#waiting.push(() => {
        stopListening();
        resolve();
      });
    });
  }
}

export interface Taking extends Partial<Omit<ConsumeOptions, "signal" | "credit">> {
  readonly slots?: number;
  readonly withinMs?: number;
}

/** Takes `count` deliveries as one worker and stops consuming; the loans stay. Fails when there are not so many in time. */
export async function take(broker: Broker, queues: readonly string[], count: number, taking: Taking = {}): Promise<Delivery[]> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), taking.withinMs ?? 10_000);
  const slots = new Slots(Math.min(taking.slots ?? count, count));
  const taken: Delivery[] = [];
  try {
    for await (const batch of broker.consume(queues, { worker: "one", ...taking, credit: slots, signal: stop.signal })) {
      slots.take(batch.length);
      taken.push(...batch);
      if (taken.length >= count) stop.abort();
      else if (slots.free() === 0) slots.give(Math.min(taking.slots ?? count, count - taken.length));
    }
  } finally {
    clearTimeout(timer);
  }
  if (taken.length !== count) throw new Error(`took ${taken.length} deliveries of ${queues.join(", ")}, expected ${count}`);
  return taken;
}

export async function settleAll(
  broker: Broker,
  deliveries: readonly Delivery[],
  end: LoanEnd = { kind: "ack" },
): Promise<readonly string[]> {
  return await broker.settle(deliveries.map((delivery) => ({ delivery, end })));
}
