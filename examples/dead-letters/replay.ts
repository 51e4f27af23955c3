import { app } from "./orders.ts";

/** Puts back what failed since a time, as `lovage dlq retry` does. Returns how many. */
export async function replaySince(since: number): Promise<number> {
  const letters = (await app.broker()).deadLetters;
  let count = 0;
  let cursor: string | undefined;
  do {
    const page = await letters?.page("celery", { limit: 100, filter: { since }, ...(cursor && { cursor }) });
    for (const { id } of page?.entries ?? []) if (await letters?.restore("celery", id)) count += 1;
    cursor = page?.cursor;
  } while (cursor !== undefined);
  return count;
}
