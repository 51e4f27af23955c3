import { Lovage, NonRetryableError } from "lovage";

export const app = new Lovage("billing");

// #region policy
export const charge = app.task({
  name: "billing.charge",
  retry: {
    maxRetries: 5, // six attempts in all
    maxElapsed: "1h", // none begins later than that after the first
    backoff: { kind: "exponential", base: "20ms", max: "10m", jitter: "full" },
    except: ["CardDeclined"],
  },
  async run(ctx, orderId: string) {
    if (orderId === "unknown") throw new NonRetryableError(`there is no order ${orderId}`);
    if (ctx.retries < 2) throw new Error("the bank does not answer");
    return `charged ${orderId} at attempt ${ctx.retries + 1}`;
  },
});
// #endregion

// #region function
export const sync = app.task({
  name: "billing.sync",
  retry: {
    maxRetries: null,
    backoff: (error, attempt) => (error instanceof RangeError || attempt >= 4 ? null : `${attempt * 10}ms`),
  },
  run(ctx) {
    throw new Error(`attempt ${ctx.retries + 1} failed`);
  },
});
// #endregion

// #region snooze
let looks = 0;
const isReady = () => ++looks > 2; // stands for a question to another system

export const collect = app.task({
  name: "billing.collect",
  maxRetries: 0,
  run(ctx, report: string) {
    if (!isReady()) ctx.snooze("50ms"); // nothing failed: it is only too early
    return `${report}, seen at look ${looks}, after ${ctx.retries} retries`;
  },
});
// #endregion
