const { add, app } = require("./tasks.cjs");

async function main() {
  const sum = await add.delay(2, 3);
  console.log(`2 + 3 = ${await sum.get({ timeout: "30s" })}`);
  await app.close();
}

void main();
