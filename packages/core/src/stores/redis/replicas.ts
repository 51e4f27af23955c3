/**
 * Waits until replicas have what was written. Redis tells that for the connection that wrote, and for all that was written before:
 * after a break something must be written over the new connection first, as opening a publisher or attaching a worker does.
 */
import { asNumber } from "./answers.ts";
import type { Answer, RedisConnection } from "./connection.ts";
import { RedisAnswerError } from "./errors.ts";
import type { ReplicaOptions } from "./options.ts";

/** WAITs that are asked for and not yet sent: those of one turn share it. */
const due = new WeakMap<RedisConnection, Promise<Answer>>();

/** One look. @throws RedisAnswerError with the word NOREPLICAS when too few have it in time, RedisGoneError */
export async function replicated(connection: RedisConnection, { count, waitMs }: ReplicaOptions): Promise<void> {
  let answer = due.get(connection);
  if (!answer) {
    answer = Promise.resolve().then(async () => {
      due.delete(connection);
      return await connection.command("WAIT", [count, waitMs]);
    });
    due.set(connection, answer);
  }
  const have = asNumber(await answer);
  if (have < count) throw new RedisAnswerError(`NOREPLICAS ${have} of ${count} replicas have what was written, after ${waitMs} ms`);
}
