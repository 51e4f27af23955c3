import { Lovage } from "lovage";

export const app = new Lovage("shop");

export const add = app.task("shop.add", (x: number, y: number) => x + y);

export const invoice = app.task({
  name: "shop.invoice", // the name on the wire: Python callers use it too
  maxRetries: 5,
  async run(ctx, order: string, lines: { product: string; cents: number }[]) {
    let total = 0;
    for (const [done, line] of lines.entries()) {
      total += line.cents;
      await ctx.progress(done + 1, lines.length);
    }
    ctx.log.info({ order }, "invoice made");
    return { order, total };
  },
});
