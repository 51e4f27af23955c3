/** Checked by the compiler alone: what `ctx.iterate()` gives is typed by its source. */
import { expectTypeOf } from "vitest";
import { Lovage } from "./app.ts";
import { eachOf, range } from "./iteration-sources.ts";

const app = new Lovage("types");

app.task({
  name: "steps",
  async run(ctx, list: readonly string[], from: number) {
    for await (const item of ctx.iterate(eachOf(list), { checkpointEvery: "5s", maxRuntime: "1m", total: list.length }))
      expectTypeOf(item).toEqualTypeOf<string>();
    for await (const item of ctx.iterate(range(0, from), { name: "numbers" })) expectTypeOf(item).toEqualTypeOf<number>();
    const steps = ctx.iterate(async function* (cursor: number | undefined) {
      for (let left = cursor ?? from; left > 0; left--) yield [String(left), left - 1] as const;
    });
    for await (const item of steps) expectTypeOf(item).toEqualTypeOf<string>();
    expectTypeOf(steps.done).toEqualTypeOf<number>();

    // @ts-expect-error no such option
    ctx.iterate(eachOf(list), { checkpointEvry: "5s" });
    // @ts-expect-error a list is no source: eachOf() makes one of it
    ctx.iterate(list);
    // @ts-expect-error it is called with the cursors that it gives
    ctx.iterate(async function* (_cursor: number | undefined) { yield [1, "next"] as const; }); // prettier-ignore
  },
});
