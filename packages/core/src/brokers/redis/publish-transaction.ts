/**
 * Pushes a batch by a transaction. Redis then keeps the texts as they came in; a script has them copied twice more, which is most
 * of what a wide publish costs (2.0 instead of 0.55 us a message).
 *
 * A script sees by its epoch that it comes too late; a transaction cannot look. So whoever opens a connection closes the one before
 * by its number first: what Redis has not executed of it by then it never will. A user who may not do that publishes by scripts.
 */
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError } from "../../stores/redis/errors.ts";

/** Fewer cost less by a script: a transaction is four commands. */
export const WORTH_A_TRANSACTION = 16;
/** No connection has this number. */
const NOBODY = Number.MAX_SAFE_INTEGER;

/** Which connection it is, in which Redis. */
export interface OpenedConnection {
  readonly clientId: number;
  readonly runId: string;
}

/** Ends what `older` may still send. False when Redis does not let us, or transactions: then nothing of it is known. */
export async function fenceOff(older: OpenedConnection | undefined, connection: RedisConnection): Promise<boolean> {
  const { clientId, server } = connection;
  if (clientId === 0) return false;
  try {
    // Another process of Redis numbers its connections anew: there the number may be anybody's, and ours is closed.
    const id = older?.runId === server.runId && older.clientId !== 0 ? older.clientId : NOBODY;
    await connection.command("CLIENT", ["KILL", "ID", id]);
    await connection.transaction([]);
    return true;
  } catch (error) {
    if (error instanceof RedisAnswerError && !error.transient) return false;
    throw error;
  }
}

export interface TransactionBatch {
  readonly list: string;
  readonly texts: readonly string[];
  /** Where it is written down that the batch was executed. */
  readonly key: string;
  readonly slot: number;
  readonly sequence: string;
  readonly born: string;
  readonly rememberedMs: number;
}

/** Answers as publish.lua does. @throws RedisAnswerError: then nothing is in the list. */
export async function pushInTransaction(connection: RedisConnection, batch: TransactionBatch): Promise<1> {
  const { list, texts, key, slot, sequence, born, rememberedMs } = batch;
  const [pushed] = await connection.transaction([
    ["LPUSH", [list, ...texts]],
    ["HSET", [key, slot, sequence, "born", born]], // its time may have run out: what it held was answered long ago
    ["PEXPIRE", [key, rememberedMs]],
  ]);
  if (pushed instanceof Error) throw pushed;
  return 1;
}

/** Whether a push that Redis has executed has succeeded too: a transaction goes on after a key of a wrong type. */
export async function isAList(connection: RedisConnection, key: string): Promise<boolean> {
  try {
    const type = await connection.command("TYPE", [key]);
    return ["list", "none"].includes(String(type));
  } catch (error) {
    if (error instanceof RedisAnswerError) return false; // not to be seen: do not claim it
    throw error;
  }
}
