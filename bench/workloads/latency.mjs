/**
 * W4: one task at a time on an idle system. From the send to the start of its body, and to its result in the caller's hand; and to its
 * result once more when both processes have ten times as many tasks behind them, because code that is new to a process is slow.
 */
import { percentile } from "../lib/statistics.mjs";

export const latency = {
  id: "W4",
  title: "latency of an idle system",
  async measure({ count, start }) {
    const worker = await start("worker", { results: true, waits: true });
    const producer = await start("producer", { results: true, waits: true });
    await producer.request("latencies", { count: 20, pauseMs: 5 });
    const { toStart, toResult } = await producer.request("latencies", { count, pauseMs: 10 });
    await producer.request("latencies", { count: 10 * count, pauseMs: 0 });
    const later = await producer.request("latencies", { count, pauseMs: 10 });
    await Promise.all([worker.stop(), producer.stop()]);
    return {
      startP50: percentile(toStart, 50),
      startP99: percentile(toStart, 99),
      resultP50: percentile(toResult, 50),
      resultP99: percentile(toResult, 99),
      laterP50: percentile(later.toResult, 50),
      laterP99: percentile(later.toResult, 99),
    };
  },
};
