/** What workers do for the shop. Each task can run twice without harm, so a worker may die at any moment and nothing is lost. */
import { app } from "./app.ts";
import { CardDeclinedError, charge, PaymentUnavailableError } from "./payment-client.ts";
import { drawChart } from "./report/chart.ts";
import { CsvError } from "./report/csv.ts";
import { makeReport } from "./report/report.ts";
import { orders, reports, uploads } from "./store.ts";

export const takePayment = app.task({
  name: "shop.takePayment",
  idempotent: true, // the order's id is the charge's key: asking twice charges once
  trackStarted: true,
  retry: { for: [PaymentUnavailableError], maxRetries: 8, backoff: { kind: "exponential", base: "500ms", max: "20s", jitter: "full" } },
  throws: [CardDeclinedError], // expected: no stack in the log
  softTimeLimit: "10s",
  timeLimit: "15s",
  async run(ctx, orderId: string): Promise<string> {
    const order = await orders.read(orderId);
    if (!order) throw new Error(`there is no order ${orderId}`);
    if (order.payment.status === "paid") return order.payment.receipt;

    const receipt = await charge(orderId, order.cents, ctx.signal);
    await orders.save({ ...order, payment: { status: "paid", receipt, paidAt: new Date().toISOString(), attempts: ctx.retries + 1 } });
    return receipt;
  },
  async onFailure(error, ctx) {
    const order = await orders.read(String(ctx.args[0]));
    if (order) await orders.save({ ...order, payment: { status: "failed", reason: messageOf(error) } });
  },
});

export const buildReport = app.task({
  name: "shop.buildReport",
  queue: "long", // its own workers, so that a big file keeps no customer waiting
  idempotent: true, // the same upload gives the same report under the same id
  trackStarted: true,
  throws: [CsvError],
  softTimeLimit: "5m",
  timeLimit: "6m",
  async run(ctx, uploadId: string): Promise<{ rows: number; total: string }> {
    const { content, bytes } = await uploads.open(uploadId);
    async function* watched() {
      let read = 0;
      for await (const chunk of content) {
        yield chunk;
        await ctx.progress((read += chunk.length), bytes);
      }
    }
    const report = await makeReport(watched(), { signal: ctx.signal });
    await reports.save(uploadId, report, drawChart(report));
    return { rows: report.rows, total: report.total };
  },
  onFailure: (error, ctx) => uploads.mark(String(ctx.args[0]), { status: "refused", reason: messageOf(error) }),
});

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
