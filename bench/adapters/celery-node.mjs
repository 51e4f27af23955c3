/**
 * celery-node. It takes a message off the queue before it runs it and keeps no trace of it, stores every result, and has neither
 * a call for many nor a limit on how many tasks run at once. `applyAsync` hides the publish's promise: it is tapped here.
 */
import celery from "celery-node";

console.info = () => {}; // one line a task otherwise

export async function openProducer(config) {
  const client = celery.createClient(config.url, config.url);
  await client.isReady();
  // A call publishes some microtasks later; calls and publishes come in the same order.
  const waiting = [];
  const publish = client.broker.publish.bind(client.broker);
  client.broker.publish = (...args) => waiting.shift()(publish(...args));
  const send = async (task, args) => {
    const published = new Promise((resolve) => waiting.push(resolve));
    const result = client.sendTask(`bench.${task}`, args, {});
    await published;
    return result;
  };
  return {
    send: (x, y) => send("add", [x, y]),
    async stamp(x, y) {
      const result = await send("stamp", [x, y]);
      return result.get(undefined, 1); // asks every millisecond; its default is every 500
    },
    sleep: (index, ms) => send("sleep", [index, ms]),
    outstanding: () => client.broker.redis.llen("celery"),
    close: () => client.disconnect(),
  };
}

export async function openWorker(config, tasks) {
  const worker = celery.createWorker(config.url, config.url);
  for (const name of ["add", "stamp", "sleep"]) worker.register(`bench.${name}`, (...args) => tasks[name](...args));
  void worker.start();
  await worker.isReady();
  return { close: () => worker.disconnect() };
}
