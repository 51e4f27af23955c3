/** Dead letters for the command line: found in one of several queues, looked through, put back at a rate. */
import type { Broker, DeadLetter, DeadLetterFilter, DeadLetters } from "../brokers/broker.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { readTaskMessage, type TaskBody } from "../protocol/task-message.ts";
import { sleep, type Clock } from "../shared/clock.ts";
import { UnsupportedByBrokerError } from "../app/errors.ts";

const PAGE = 500;

export function deadLettersOf(broker: Broker): DeadLetters {
  if (broker.deadLetters === undefined) throw new UnsupportedByBrokerError("keeping dead letters", broker.kind);
  return broker.deadLetters;
}

/** Newest first within each queue. */
export async function* eachLetter(
  letters: DeadLetters,
  queues: readonly string[],
  filter: DeadLetterFilter,
): AsyncGenerator<DeadLetter, void> {
  for (const queue of queues) {
    let cursor: string | undefined;
    do {
      const page = await letters.page(queue, { limit: PAGE, filter, ...(cursor !== undefined && { cursor }) });
      yield* page.entries;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }
}

/** The letter of that id in the first of the queues that has one. */
export async function findLetter(letters: DeadLetters, queues: readonly string[], id: string): Promise<DeadLetter | undefined> {
  for (const queue of queues) {
    const letter = await letters.get(queue, id);
    if (letter !== undefined) return letter;
  }
  return undefined;
}

export interface Replay {
  readonly clock: Clock;
  /** undefined: as fast as it goes. */
  readonly perSecond: number | undefined;
  readonly signal: AbortSignal;
}

/** Puts them back, no faster than the rate. Those that die again meanwhile are not taken twice. Returns how many; fewer when `signal` aborts. */
export async function replay(
  letters: DeadLetters,
  chosen: AsyncIterable<DeadLetter>,
  { clock, perSecond, signal }: Replay,
): Promise<number> {
  const startedAt = clock.monotonic();
  let count = 0;
  for await (const { queue, id } of chosen) {
    if (perSecond !== undefined) {
      const waitMs = startedAt + (count * 1000) / perSecond - clock.monotonic();
      if (waitMs > 0) await sleep(clock, waitMs, signal).catch(() => undefined); // aborted: seen below
    }
    if (signal.aborted) break;
    if (await letters.restore(queue, id)) count++;
  }
  return count;
}

/** What its task would be called with; undefined for what cannot be decoded. */
export function argumentsOf({ raw }: Pick<DeadLetter, "raw">): TaskBody | undefined {
  try {
    const { message, info } = decodeEnvelope(raw);
    return readTaskMessage(message, info, { accept: new Set([message.contentType]) }).body();
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
