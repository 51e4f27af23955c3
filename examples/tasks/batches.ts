import type { BatchItem } from "lovage";
import { app } from "./tasks.ts";

export interface Row {
  readonly sku: string;
  readonly amount: number;
}

/** Stands for a database: one call inserts any number of rows. */
export const table: Row[] = [];
export const inserts: number[] = [];

async function insertAll(rows: readonly Row[]): Promise<void> {
  inserts.push(rows.length);
  table.push(...rows);
}

// #region insert
export const record = app.task({
  name: "stock.record",
  batch: { size: 100, wait: "1s" },
  async run(_ctx, items: readonly BatchItem<[row: Row]>[]) {
    await insertAll(items.map(({ args: [row] }) => row)); // what it throws fails, or retries, every item
  },
});
// #endregion

// #region marks
export const geocode = app.task({
  name: "places.geocode",
  batch: { size: 50, wait: "500ms" },
  maxRetries: 5,
  async run(_ctx, items: readonly BatchItem<[address: string], string>[]) {
    const answers = await lookUp(items.map(({ args: [address] }) => address));
    for (const [index, item] of items.entries()) {
      const answer = answers[index];
      if (answer === undefined) item.fail(new Error(`no such address: ${item.args[0]}`));
      else if (answer === "busy") item.retry({ countdown: "2s" });
      else item.succeed(answer);
    }
  },
});
// #endregion

/** Stands for a bulk API. */
async function lookUp(addresses: readonly string[]): Promise<readonly (string | undefined)[]> {
  return addresses.map((address) => (address.startsWith("?") ? undefined : `${address.length},0`));
}

/** Stands for a mail service. */
export const sent: string[] = [];

// #region aggregate
export const digest = app.task({
  name: "mail.digest",
  aggregate: { key: (user: string, _text: string) => user, maxSize: 50, maxWait: "2s" },
  async run(_ctx, items: readonly BatchItem<[user: string, text: string]>[]) {
    const [first] = items;
    const texts = items.map(({ args: [, text] }) => text);
    if (first) sent.push(`${first.args[0]}: ${texts.join(", ")}`); // one mail with all that happened
  },
});
// #endregion
