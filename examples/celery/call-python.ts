import { Lovage } from "lovage";

const app = new Lovage("shop");

// A task of a Python worker: its name, and what it takes and returns.
const forecast = app.remote<[product: string, days: number], { total: number }>("stock.forecast", { queue: "python" });

const pending = await forecast.delay("tea", 30);
const { total } = await pending.get({ timeout: "30s" });
console.log(`${total} to order`);

await app.close();
