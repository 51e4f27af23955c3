import { add, app, invoice } from "./tasks.ts";

const sum = await add.delay(2, 3);
console.log(`2 + 3 = ${await sum.get({ timeout: "30s" })}`);

const made = await invoice.delay("A-1001", [
  { product: "tea", cents: 450 },
  { product: "cup", cents: 1200 },
]);
const { total } = await made.get({ timeout: "30s" }); // typed: { order: string; total: number }
console.log(`invoice of ${total} cents`);

await app.close();
