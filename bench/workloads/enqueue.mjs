/** W1: how fast a producer gets no-op tasks into an empty broker; nobody consumes. */
export const awaited = enqueueWorkload("W1a", "enqueue, each awaited", "awaited");
export const concurrent = enqueueWorkload("W1b", "enqueue, 100 at a time", "concurrent");
export const bulk = enqueueWorkload("W1c", "enqueue, 1,000 a call", "bulk");

function enqueueWorkload(id, title, way) {
  return {
    id,
    title,
    async measure({ system, store, count, start }) {
      const producer = await start("producer", { results: false });
      await producer.request("enqueue", { way, count: Math.ceil(count / 5000) * 1000 }); // warm: a fifth, in whole calls
      const storeFrom = await store.cpuMicros();
      const sent = await producer.request("enqueue", { way, count });
      const storeMicros = (await store.cpuMicros()) - storeFrom;
      const held = await producer.request("outstanding");
      await producer.stop();
      const expected = count + Math.ceil(count / 5000) * 1000;
      if (held !== expected) throw new Error(`${system.id}: the broker holds ${held} tasks of ${expected}`);
      return {
        perSecond: (count / (sent.endedAt - sent.startedAt)) * 1000,
        producerMicros: sent.cpuMicros / count,
        storeMicros: storeMicros / count,
      };
    },
  };
}
