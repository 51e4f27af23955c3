/** The store's errors in the words of a broker. */
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisClosedError, RedisGaveUpError, RedisGoneError, RedisRefusedError } from "../../stores/redis/errors.ts";
import { BrokerOutOfMemoryError, BrokerRefusedError, BrokerUnavailableError } from "../errors.ts";
import type { RedisContext } from "./context.ts";

export function brokerError(location: string, error: unknown): unknown {
  if (error instanceof RedisGaveUpError) return new BrokerUnavailableError(location, error, { gaveUp: true });
  if (error instanceof RedisGoneError || error instanceof RedisClosedError) return new BrokerUnavailableError(location, error);
  if (error instanceof RedisAnswerError && error.word === "OOM") return new BrokerOutOfMemoryError(location, [], error);
  if (error instanceof RedisAnswerError)
    return new BrokerRefusedError(location, error.message, { transient: error.transient, cause: error });
  if (error instanceof RedisRefusedError) return new BrokerRefusedError(location, error.message, { cause: error });
  return error;
}

/** How long a question waits for a connection; an answer that does not come breaks the connection by itself. */
const CONNECTION_WAIT_MS = 5000;

/**
 * Asks Redis something over the connection of commands.
 * @throws BrokerUnavailableError when there is no connection for a few seconds, BrokerRefusedError
 */
export async function asking<T>(context: RedisContext, ask: (connection: RedisConnection) => Promise<T>): Promise<T> {
  try {
    return await ask(await openConnection(context));
  } catch (error) {
    throw brokerError(context.location, error);
  }
}

/** The same for what may be asked twice: an idle connection may have died without a word, which only the asking shows. */
export async function askingAgain<T>(
  context: RedisContext,
  ask: (connection: RedisConnection) => Promise<T>,
  waitMs = CONNECTION_WAIT_MS,
): Promise<T> {
  try {
    return await ask(await openConnection(context, waitMs));
  } catch (error) {
    if (error instanceof RedisGoneError && error.sent) return await asking(context, ask);
    throw brokerError(context.location, error);
  }
}

async function openConnection({ clock, commands, location }: RedisContext, waitMs = CONNECTION_WAIT_MS): Promise<RedisConnection> {
  const open = commands.current;
  if (open) return open;
  const late = new AbortController();
  const timer = clock.timer(waitMs, () => late.abort(new BrokerUnavailableError(location, commands.lastFailure)));
  return await commands.connection(late.signal).finally(() => timer.cancel());
}
