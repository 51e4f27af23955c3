// #region policy
import { Lovage } from "lovage";

export const app = new Lovage("orders");

export const charge = app.task({
  name: "orders.charge",
  retry: { maxRetries: 3, backoff: { kind: "fixed", delay: "100ms" } },
  deadLetter: { queue: "dead_letter", task: "orders.handle_dead_letter" },
  run: (_ctx, orderId: string): string => {
    throw new Error(`the bank does not answer for ${orderId}`);
  },
});
// #endregion policy

// #region handler
export const handled: string[] = [];

/** The arguments of the task that failed and, last, its error. */
export const handleDeadLetter = app.task({
  name: "orders.handle_dead_letter",
  run: (ctx, orderId: string, error: string) => {
    handled.push(`${orderId}, task ${ctx.parentId}: ${error}`);
  },
});
// #endregion handler
