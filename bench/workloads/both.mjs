/** W3: a producer sends, 100 at a time, to a worker that is already consuming; until the last task is settled. Results off. */
import { drained, settled } from "../lib/execution.mjs";

export const producerAndWorker = {
  id: "W3",
  title: "producer and worker together",
  async measure({ system, store, count, start }) {
    const warm = Math.ceil(count / 10);
    const worker = await start("worker", { results: false, expect: count + warm });
    const producer = await start("producer", { results: false });
    await producer.request("enqueue", { way: "concurrent", count: warm });
    await settled(producer);
    const [storeFrom, workerFrom] = await Promise.all([store.cpuMicros(), worker.request("usage")]);
    const sent = await producer.request("enqueue", { way: "concurrent", count });
    const endedAt = await drained({ system, producer, worker });
    const workerMicros = (await worker.request("usage")).cpuMicros - workerFrom.cpuMicros;
    const storeMicros = (await store.cpuMicros()) - storeFrom;
    await Promise.all([worker.stop(), producer.stop()]);
    return {
      perSecond: (count / (endedAt - sent.startedAt)) * 1000,
      producerMicros: sent.cpuMicros / count,
      workerMicros: workerMicros / count,
      storeMicros: storeMicros / count,
    };
  },
};
