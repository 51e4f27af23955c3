/**
 * A child of sqlite-kill.test.ts, killed without warning: publishes, or takes messages as a worker does.
 * What it did is appended to a file, one line at a time, so that it survives the kill.
 */
import { appendFileSync } from "node:fs";
import { openSqliteBroker } from "../../dist/brokers/sqlite/index.js";
import { systemClock, systemRandom, sleep } from "../../dist/shared/clock.js";
import { newId } from "../../dist/shared/ids.js";
import { silentLogger } from "../../dist/shared/log.js";

const { role, spec, record, concurrency, leaseMs } = JSON.parse(process.argv[2]);
const broker = await openSqliteBroker(spec, { clock: systemClock, random: systemRandom, logger: silentLogger });

if (role === "publisher") await publish();
else await work();

/** The id is written down once the broker has answered: from then on it must not get lost. */
async function publish() {
  process.send("ready");
  for (;;) {
    const ids = Array.from({ length: 5 }, newId);
    await broker.publish(ids.map((id) => outgoing(id, "work")));
    appendFileSync(record, ids.map((id) => `${id}\n`).join(""));
    await sleep(systemClock, 5);
  }
}

/** Each message is written down when its task begins; its settlement publishes a follow-up in the same step. */
async function work() {
  const worker = `worker-${process.pid}`;
  let running = 0;
  const freed = new Set();
  const credit = {
    free: () => concurrency - running,
    whenFree: () => (running < concurrency ? Promise.resolve() : new Promise((resolve) => freed.add(resolve))),
  };
  await broker.leases.renew(worker, leaseMs);
  void every(leaseMs / 4, async () => {
    const { held } = await broker.leases.renew(worker, leaseMs);
    if (!held) process.send("lost");
  });
  void every(leaseMs / 2, () => broker.leases.sweep({ maxDeliveries: 1000, leaseMs, visibilityTimeoutMs: 1e9 }));
  process.send("ready");
  for await (const batch of broker.consume(["work"], { worker, credit, signal: new AbortController().signal })) {
    for (const delivery of batch) void run(delivery);
  }

  async function run(delivery) {
    running++;
    const { id } = delivery.open().message.headers;
    appendFileSync(record, `${id}\n`);
    await sleep(systemClock, 5 + Math.random() * 20);
    await broker.settle([{ delivery, end: { kind: "ack" }, publish: [outgoing(id, "done")] }]);
    running--;
    for (const resolve of freed) resolve();
    freed.clear();
  }
}

async function every(ms, what) {
  for (;;) {
    await sleep(systemClock, ms);
    await what();
  }
}

function outgoing(id, queue) {
  const properties = { correlationId: id, replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} };
  const message = {
    headers: { id },
    properties,
    contentType: "application/json",
    contentEncoding: "utf-8",
    body: Buffer.from("[[], {}, {}]"),
  };
  return { exchange: "", routingKey: queue, message };
}
