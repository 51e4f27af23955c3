import { add, app, greet, order, resize } from "./tasks.ts";

export async function everyWay(): Promise<unknown[]> {
  // #region delay
  const sum = await add.delay(2, 3); // resolves when the broker holds the message
  const five: number = await sum.get({ timeout: "10s" });
  // #endregion

  // #region apply
  const later = await resize.applyAsync(["cat.png", 640], null, {
    countdown: "1s", // or eta: new Date(...)
    expires: "1h",
    queue: "images",
    headers: { tenant: "acme" },
  });
  const key = await later.get({ timeout: "10s" });
  // #endregion

  // #region kwargs
  const greeting = await greet.applyAsync(["Ada"], { greeting: "Welcome" });
  // #endregion

  // #region bulk
  const sums = await add.map([
    [1, 1],
    [2, 2],
  ]);
  const mixed = await app.publishMany([add.call(3, 3), order.call({ id: "A-1", cents: 1200 })]); // one round trip
  // #endregion

  // #region by-name
  const byName = await app.sendTask<number>("shop.add", [4, 4]);
  // #endregion

  // #region result
  const again = app.result<number>(sum.id); // at another time, in another process
  const state = await again.state();
  // #endregion

  const all = [...sums, ...mixed, byName];
  return [five, key, await greeting.get({ timeout: "10s" }), ...(await Promise.all(all.map((one) => one.get({ timeout: "10s" })))), state];
}
