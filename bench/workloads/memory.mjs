/**
 * W5: resident memory of one worker after its start, after draining a first part and at its peak while draining four times as
 * much; and the broker's bytes for each queued task.
 */
import { settled } from "../lib/execution.mjs";

export const memory = {
  id: "W5",
  title: "memory",
  async measure({ system, store, count, start }) {
    const producer = await start("producer", { results: false });
    const fill = (tasks) => producer.request("enqueue", { way: system.fillsBy ?? "bulk", count: tasks });
    const worker = await start("worker", { results: false });
    const atStart = (await worker.request("usage")).rssBytes;
    await fill(count);
    await settled(producer);
    const afterFirst = (await worker.request("usage")).rssBytes;
    await worker.stop();

    const emptyBytes = await store.usedBytes();
    await fill(count * 4);
    const perTask = ((await store.usedBytes()) - emptyBytes) / (count * 4);
    const drainer = await start("worker", { results: false });
    await settled(producer, 20);
    const { peakRssBytes } = await drainer.request("usage");
    await Promise.all([drainer.stop(), producer.stop()]);
    return { startMb: atStart / 2 ** 20, afterMb: afterFirst / 2 ** 20, peakMb: peakRssBytes / 2 ** 20, storeBytes: perTask };
  },
};
