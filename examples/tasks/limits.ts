// #region app
import { Lovage } from "lovage";

export const app = new Lovage("mailing", {
  // What is taken from this queue, whichever task it is.
  queueLimits: { reports: { concurrency: 2 } },
});

/** All workers together start 20 a second, evenly spaced. */
export const send = app.task("mailing.send", { limit: { rate: "20/s" } }, (address: string) => `sent to ${address}`);

/** The database bears four of these at once, however many workers there are. */
export const rebuild = app.task("mailing.rebuild", { queue: "reports", limit: { concurrency: 4 } }, (month: string) => month);
// #endregion

// #region keys
/** Each customer for itself: two at once after a pause, then one every 100 ms. */
export const track = app.task(
  "mailing.track",
  { limit: { rate: "10/s", burst: 2, key: (customer: string) => customer } },
  (customer: string, event: string) => `${event} of ${customer}`,
);
// #endregion

// #region hold
class TooManyRequests extends Error {
  readonly retryAfter: number;

  constructor(retryAfter: number) {
    super("429");
    this.retryAfter = retryAfter;
  }
}

/** An API that several tasks call, and that counts each account apart. */
const api = { name: "crm", rate: "50/s", key: (account: string) => account } as const;

export const sync = app.task({
  name: "mailing.sync",
  limit: api,
  async run(ctx, account: string) {
    try {
      return await callApi(account);
    } catch (error) {
      // Not before that: neither this task nor any other of the account, and it costs no attempt.
      if (error instanceof TooManyRequests) ctx.snooze(error.retryAfter, { holdLimit: true });
      throw error;
    }
  },
});
// #endregion

// #region change
export async function slowDown(): Promise<void> {
  await app.limits.set("task:mailing.send", { rate: "5/s" }); // in place of what the code says, for all workers, also those that start later
  await app.limits.set("crm", { rate: "1/s" }, { key: "acme" }); // one key
  for (const { name, key, waiting, running } of await app.limits.list()) console.log(name, key, waiting, running);
  await app.limits.hold("crm", "30s"); // nothing for so long
  await app.limits.clear("task:mailing.send"); // as the code says again
}
// #endregion

let refusals = 1;

async function callApi(account: string): Promise<string> {
  if (refusals-- > 0) throw new TooManyRequests(0.3);
  return `synced ${account}`;
}
