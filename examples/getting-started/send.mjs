import { add, app } from "./tasks.mjs";

const sum = await add.delay(2, 3);
console.log(`2 + 3 = ${await sum.get({ timeout: "30s" })}`);

await app.close();
