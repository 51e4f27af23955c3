import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { counted, rowsByKey } from "lovage";
import { app } from "./tasks.ts";

interface Customer {
  readonly id: number;
  readonly email: string;
}

/** Stands for a table. */
export const customers: readonly Customer[] = Array.from({ length: 40 }, (_, i) => ({ id: i + 1, email: `c${i + 1}@example.com` }));
export const indexed: number[] = [];

// #region rows
export const reindex = app.task({
  name: "search.reindex",
  async run(ctx) {
    const rows = rowsByKey(
      async (after: number | undefined) => customers.filter(({ id }) => id > (after ?? 0)).slice(0, 10), // SELECT ... WHERE id > $1 ORDER BY id LIMIT 10
      ({ id }) => id,
    );
    const steps = ctx.iterate(rows, { total: customers.length });
    for await (const customer of steps) indexed.push(customer.id);
    return steps.done;
  },
});
// #endregion

// #region lines
export const importLines = app.task({
  name: "files.import",
  async run(ctx, path: string) {
    const lines = counted(() => createInterface({ input: createReadStream(path), crlfDelay: Infinity }));
    const steps = ctx.iterate(lines, { checkpointEvery: "10s", maxRuntime: "5m" });
    for await (const line of steps) ctx.log.debug({ line }, "one line");
    return steps.done;
  },
});
// #endregion

// #region own
export const countdown = app.task({
  name: "search.countdown",
  async run(ctx, from: number) {
    // A source: called with the last cursor, undefined at the start; gives items, each with the cursor to go on from.
    async function* numbers(cursor: number | undefined) {
      for (let left = cursor ?? from; left > 0; left--) yield [left, left - 1] as const;
    }
    const said: number[] = [];
    for await (const left of ctx.iterate(numbers)) said.push(left);
    return said;
  },
});
// #endregion
