// #region tasks
import { chain, chord, chunks, group } from "lovage";
import { app } from "./tasks.ts";

export const fetchPrice = app.task("prices.fetch", (shop: string) => shop.length * 10);
export const addTax = app.task("prices.tax", (price: number, percent: number) => price + (price * percent) / 100);
export const cheapest = app.task("prices.cheapest", (prices: readonly number[]) => Math.min(...prices));
export const report = app.task("prices.report", (failedTask: string) => `looked at ${failedTask}`);
// #endregion

export function stampedOffers() {
  // #region stamps
  const offers = chord([fetchPrice.s("corner"), fetchPrice.s("mall")], cheapest.s())
    .stamp({ tenant: "acme" })
    .stamp({ onSignature: () => undefined, onChordBody: () => ({ step: "last" }) });
  // #endregion
  return offers;
}

export async function tree(): Promise<string> {
  // #region results
  const result = await chord([fetchPrice.s("corner"), fetchPrice.s("mall")], cheapest.s()).delay();
  await result.get({ timeout: "10s" });
  const { succeeded, total } = await result.counts(); // 2 of 2
  const graph = await result.graph();
  const picture = graph.toDot(); // dot -Tsvg
  // #endregion
  return succeeded === total ? picture : "";
}

// #region replace
export const bestOffer = app.task({
  name: "prices.best_offer",
  run(ctx, shops: readonly string[]): number {
    return ctx.replace(
      chord(
        shops.map((shop) => fetchPrice.s(shop)),
        cheapest.s(),
      ),
    );
  },
});
// #endregion

// #region add-to-chord
export const fetchWithBranch = app.task({
  name: "prices.fetch_with_branch",
  async run(ctx, shop: string) {
    if (shop === "mall") await ctx.addToChord(fetchPrice.s("kiosk"));
    return shop.length * 10;
  },
});
// #endregion

export async function one(): Promise<number> {
  // #region chain
  const result = await chain(fetchPrice.s("corner"), addTax.s(20)).delay();
  const price = await result.get({ timeout: "10s" });
  // #endregion
  return price;
}

export async function several(): Promise<number[]> {
  // #region group
  const result = await group(["corner", "market"].map((shop) => fetchPrice.s(shop))).delay();
  const prices = await result.get({ timeout: "10s" });
  // #endregion
  return [...prices];
}

export async function best(): Promise<number> {
  // #region chord
  const offers = ["corner", "market", "mall"].map((shop) => chain(fetchPrice.s(shop), addTax.s(20)));
  const result = await chord(offers, cheapest.s().onError(report.s())).delay();
  const price = await result.get({ timeout: "10s" });
  // #endregion
  return price;
}

export async function inChunks(): Promise<number[][]> {
  // #region chunks
  const result = await chunks(fetchPrice.s(), [["corner"], ["market"], ["mall"]], 2).delay(); // two messages
  const prices = await result.get({ timeout: "10s" });
  // #endregion
  return [...prices];
}
