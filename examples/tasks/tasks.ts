// #region app
import { Lovage } from "lovage";

export const app = new Lovage("shop");
// #endregion

// #region plain
export const add = app.task("shop.add", (x: number, y: number) => x + y);
// #endregion

// #region options
export const resize = app.task({
  name: "images.resize",
  queue: "images",
  retry: { maxRetries: 5, backoff: { kind: "exponential", base: "1s", max: "1m", jitter: "full" } },
  softTimeLimit: "25s",
  timeLimit: "30s",
  async run(ctx, image: string, width: number): Promise<string> {
    ctx.log.info({ width }, "resizing");
    await ctx.progress(1, 2);
    return `${image}@${width}`;
  },
});
// #endregion

// #region params
export const greet = app.task({
  name: "shop.greet",
  params: ["name", "greeting"], // app.send_task("shop.greet", ["Ada"], {"greeting": "Hello"}) from Python fits too
  run: (_ctx, name: string, greeting = "Hello") => `${greeting}, ${name}!`,
});
// #endregion

// #region input
import { z } from "zod";

export const order = app.task({
  name: "shop.order",
  input: z.object({ id: z.string(), cents: z.int().positive(), express: z.boolean().default(false) }),
  run: (_ctx, { id, cents, express }) => ({ id, total: express ? cents + 500 : cents }),
});
// #endregion

// #region retry
export const charge = app.task({
  name: "shop.charge",
  maxRetries: 3,
  async run(ctx, orderId: string) {
    const answer = await pay(orderId, ctx.signal);
    if (answer === "busy") ctx.retry({ countdown: "100ms", error: new Error("the payment service is busy") });
    if (answer === "unknown order") ctx.reject("unknown order"); // to the dead letters
    return answer;
  },
});
// #endregion

// #region hooks
export const audited = app.task({
  name: "shop.audited",
  onSuccess: (value, ctx) => ctx.log.info({ value }, "done"),
  onFailure: (error, ctx) => ctx.log.error({ err: error }, "failed for good"),
  run: (_ctx, amount: number) => amount * 2,
});

app.onWorkerStart(async () => {
  // open a database pool here; onWorkerStop closes it
});
// #endregion

let busy = 2;
async function pay(orderId: string, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  if (orderId === "none") return "unknown order";
  return busy-- > 0 ? "busy" : `paid ${orderId}`;
}
