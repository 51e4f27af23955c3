/** Counting the ends of loans of fair queues. What is not counted here, because a connection broke or a worker died, is found by `tidy`. */
import { asNumber } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { type FairKeys, loansKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { RedisContext } from "./context.ts";
import type { RedisDelivery } from "./delivery.ts";

const endScript = loadScript("fair-end");

/** Those of the loans that are there no more. Returns how many. */
export async function countEnds(
  { shard }: Pick<RedisContext, "shard">,
  connection: RedisConnection,
  worker: string,
  { keys, ring, running, bell }: FairKeys,
  loans: readonly string[],
): Promise<number> {
  return asNumber(await connection.script(endScript, [loansKey(shard, worker), keys, ring, running, bell], loans));
}

/** After these were settled over this connection. Does not wait. */
export function tellEnds(context: RedisContext, connection: RedisConnection, worker: string, deliveries: readonly RedisDelivery[]): void {
  const byQueue = new Map<FairKeys, string[]>();
  for (const { fair, loan } of deliveries) {
    if (fair === undefined) continue;
    const loans = byQueue.get(fair);
    if (loans) loans.push(loan);
    else byQueue.set(fair, [loan]);
  }
  for (const [keys, loans] of byQueue)
    countEnds(context, connection, worker, keys, loans).catch((error: unknown) =>
      context.logger.debug({ err: error, worker }, "could not count the ends of loans now"),
    );
}
