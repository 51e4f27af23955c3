/** W9: a worker's process is started while a task waits. Until it says that it consumes, until the task's body starts, and the time of its imports. */
export const coldStart = {
  id: "W9",
  title: "cold start",
  async measure({ system, start }) {
    const producer = await start("producer", { results: false });
    if (!system.python) await producer.request("enqueue", { way: "awaited", count: 1 });
    const worker = await start("worker", { results: false });
    const { at, importMs } = await worker.event("ready");
    const first = system.python ? undefined : await worker.event("first");
    await Promise.all([worker.stop(), producer.stop()]);
    return { readyMs: at - worker.spawnedAt, firstMs: first ? first.at - worker.spawnedAt : NaN, importMs };
  },
};
