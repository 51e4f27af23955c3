/**
 * `npm start`: the payment service, the page and two workers, each a process of its own; then a report on the sample
 * file and a few orders, so that there is something to see. Ends with Ctrl+C, with `--once` as soon as those are done.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { app } from "./app.ts";
import { Children } from "./children.ts";
import { orders, reports } from "./store.ts";
import { printOrder, printReport } from "./terminal.ts";

const { values: options } = parseArgs({ options: { once: { type: "boolean", default: false } } });

const SAMPLE = new URL("../sample/seattle-weather.csv", import.meta.url);
const DEMO_ORDERS = [
  { customer: "Ada", product: "tea", quantity: 2 },
  { customer: "Grace", product: "pot", quantity: 1 },
  { customer: "Barbara", product: "seeds", quantity: 10 },
];

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stop.abort());

const children = new Children(stop.signal, (problem) => {
  console.error(`\n${problem}: the shop closes.`);
  process.exitCode = 1;
  stop.abort();
});

try {
  children.setVariable("SHOP_PAYMENT_URL", await children.startServer("The payment service", "src/payment-service.ts"));
  const page = await children.startServer("The web process", "src/web.ts");
  children.startWorker("The worker for payments", ["-Q", "celery", "-n", "payments@%h", "-l", "warning"]);
  children.startWorker("The worker for reports", ["-Q", "long", "-n", "reports@%h", "-c", "2", "-l", "warning"]);
  console.log(`\nThe shop is open: ${page}\n`);

  await Promise.all([reportOnSample(page), ...DEMO_ORDERS.map((order) => placeOrder(page, order))]);

  if (!options.once) {
    console.log(`\nPlace orders and upload files at ${page}\nCtrl+C closes the shop.`);
    await untilStopped();
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
} finally {
  await children.stop();
  await app.close();
}

/** As the page does it. The worker's outcome comes by the result backend. */
async function reportOnSample(page: string): Promise<void> {
  const { id } = await post(new URL("/api/uploads?name=seattle-weather.csv", page), "text/csv", await readFile(SAMPLE));
  await app.result(id).get({ signal: stop.signal });
  const report = await reports.read(id);
  if (report) printReport("seattle-weather.csv", report);
}

async function placeOrder(page: string, order: (typeof DEMO_ORDERS)[number]): Promise<void> {
  const { id } = await post(new URL("/api/orders", page), "application/json", JSON.stringify(order));
  await app.result(id).get({ signal: stop.signal, propagate: false });
  const settled = await orders.read(id);
  if (settled) printOrder(settled);
}

async function post(url: URL, type: string, body: string | Uint8Array<ArrayBuffer>): Promise<{ readonly id: string }> {
  const response = await fetch(url, { method: "POST", headers: { "content-type": type }, body, signal: stop.signal });
  if (!response.ok) throw new Error(`${url.pathname} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as { id: string };
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    if (stop.signal.aborted) resolve();
    stop.signal.addEventListener("abort", () => resolve());
  });
}
