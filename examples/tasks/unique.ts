/** Tasks that run once for many calls. */
import { Lovage } from "lovage";

export const app = new Lovage("unique");

/** One charge of an order at a time, however often the button is clicked. */
export const charge = app.task({
  name: "orders.charge",
  unique: { key: (orderId: string) => orderId },
  run: async (_, orderId: string, source: string) => `${orderId} charged from ${source}`,
});

/** When nothing has changed for 5 seconds, and at least once a minute. The arguments are those of the last call. */
export const reindex = app.task({
  name: "search.reindex",
  unique: { key: "catalogue", debounce: "5s", maxWait: "1m" },
  run: async (_, version: number) => version,
});

/** One sync of an account at a time; the last of the calls that come meanwhile runs after it. */
export const sync = app.task({
  name: "accounts.sync",
  unique: { key: [0], keepLast: true },
  run: async (_, accountId: string, reason: string) => `${accountId}: ${reason}`,
});

/** At most one mail of a kind to a user in an hour. */
export const remind = app.task({
  name: "mail.remind",
  unique: { key: (userId: string) => userId, throttle: "1h" },
  run: async (_, userId: string) => userId,
});

export async function clickTwice(): Promise<boolean> {
  const first = await charge.delay("order-7", "web");
  const second = await charge.delay("order-7", "phone");
  return second.isDuplicate && second.id === first.id;
}
