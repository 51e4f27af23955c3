/** The store's errors in the words of a broker. */
import { RedisAnswerError, RedisClosedError, RedisGoneError, RedisRefusedError } from "../../stores/redis/errors.ts";
import { BrokerRefusedError, BrokerUnavailableError } from "../errors.ts";

export function brokerError(location: string, error: unknown): unknown {
  if (error instanceof RedisGoneError || error instanceof RedisClosedError) return new BrokerUnavailableError(location, error);
  if (error instanceof RedisAnswerError)
    return new BrokerRefusedError(location, error.message, { transient: error.transient, cause: error });
  if (error instanceof RedisRefusedError) return new BrokerRefusedError(location, error.message, { cause: error });
  return error;
}
