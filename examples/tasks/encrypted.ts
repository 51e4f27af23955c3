import { Lovage } from "lovage";

export const app = new Lovage("shop");

// #region task
export const pay = app.task({
  name: "shop.pay",
  encrypt: ["args[0].card.number", "args[0].refunds[*].iban", "kwargs.pin"],
  run: (_ctx, order: { id: string; card: { number: string } }) => `paid with ${order.card.number.slice(-4)}`,
});
// #endregion

// #region remote
export const payInPython = app.remote<[order: { card: string }], string>("billing.pay", { queue: "python", encrypt: ["args[0].card"] });
// #endregion
