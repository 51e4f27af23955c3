/** A producer of unique-race.test.ts: says "ready"; then, each time that it is told how a task is unique, calls it many times at once and says what it was answered. */
import { Lovage } from "lovage";

const [url, calls] = process.argv.slice(2);
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const app = new Lovage("race", { brokerUrl: url, env: false, configFile: false, logger: silent });
const call = async (i, unique) => {
  const { id, isDuplicate } = await app.sendTask("test.record", [`${process.pid}-${i}`, 0], undefined, { unique });
  return { id, isDuplicate };
};
const race = async (unique) => {
  process.send(await Promise.all(Array.from({ length: Number(calls) }, (_, i) => call(i, unique))));
};
process.on("message", (unique) => void race(unique));
process.once("disconnect", () => void app.close());
await app.sendTask("warm", [], undefined, { queue: "warm" }); // connected
process.send("ready");
