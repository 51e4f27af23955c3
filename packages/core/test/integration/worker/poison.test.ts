/** A message that was lost with its worker too often: whoever waits for its result is told, and the dead-letter queue has it, on every store. */
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { expect, test } from "vitest";

import type { Delivery } from "../../../src/brokers/broker.ts";
import { take } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { temporaryDatabase } from "../../support/sqlite.ts";

const LEASE_MS = 250;
const MAX_DELIVERIES = 3;
const SWEEPING = { maxDeliveries: 100, leaseMs: LEASE_MS, visibilityTimeoutMs: 3_600_000 };

interface Place extends AsyncDisposable {
  readonly brokerUrl: string;
  readonly resultBackend: string;
}

async function redis(): Promise<Place> {
  const server = await RedisServer.start();
  return { brokerUrl: server.url, resultBackend: server.url, [Symbol.asyncDispose]: () => server.stop() };
}

async function twoStores(): Promise<Place> {
  const [broker, results] = [await RedisServer.start(), await RedisServer.start()];
  const stop = async (): Promise<void> => void (await Promise.all([broker.stop(), results.stop()]));
  return { brokerUrl: broker.url, resultBackend: results.url, [Symbol.asyncDispose]: stop };
}

async function sqlite(): Promise<Place> {
  const database = await temporaryDatabase();
  const url = `sqlite://${database.path}`;
  return { brokerUrl: url, resultBackend: url, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() };
}

/** Workers that begin the one message and are never heard of again, so often. */
async function loseWorkers(app: Lovage, times: number): Promise<void> {
  const broker = await app.broker();
  for (let i = 0; i < times; i++) {
    await broker.leases?.renew(`doomed${i}`, LEASE_MS);
    const [delivery] = await take(broker, ["celery"], 1, { worker: `doomed${i}` });
    await broker.checkpoints?.begin(delivery as Delivery);
    await eventually("it is swept", async () => {
      await broker.leases?.renew("sweeper", 60_000);
      return ((await broker.leases?.sweep(SWEEPING))?.returned ?? 0) > 0;
    });
  }
}

for (const [kind, open] of Object.entries({ redis, twoStores, sqlite })) {
  test(`${kind}: it does not run again, it is a FAILURE that says so, and it is in the dead letters and their queue, once`, async () => {
    await using place = await open();
    const { brokerUrl, resultBackend } = place;
    const leaseTime = LEASE_MS / 1000;
    await using app = new Lovage("poison", {
      brokerUrl,
      resultBackend,
      env: false,
      configFile: false,
      leaseTime,
      maxDeliveries: MAX_DELIVERIES,
    });
    let runs = 0;
    const task = app.task({ name: "test.poison", deadLetter: { queue: "graveyard" }, run: (_ctx, _x: number) => void (runs += 1) });
    const result = await task.delay(7);
    await loseWorkers(app, MAX_DELIVERIES);
    const worker = new Worker(app, { name: "heir@test" });
    await worker.start();
    await expect(result.get({ timeout: 20 })).rejects.toThrow(`lost ${MAX_DELIVERIES} times`);
    expect(await result.state()).toBe("FAILURE");
    const broker = await app.broker();
    await worker.stop();
    expect(runs).toBe(0);
    const { entries = [] } = (await broker.deadLetters?.page("celery", { limit: 10 })) ?? {};
    expect(entries).toMatchObject([{ id: result.id, task: "test.poison", reason: "poison", losses: MAX_DELIVERIES }]);
    expect(await broker.depth(["celery", "graveyard"])).toMatchObject([{ ready: 0 }, { ready: 1 }]);
    const [copy] = await take(broker, ["graveyard"], 1);
    expect(copy?.open().message.headers).toMatchObject({
      id: result.id,
      lovage_dead: { id: result.id, queue: "celery", reason: "poison", losses: MAX_DELIVERIES },
    });
    const [document] = (await (await app.backend())?.fetch([result.id])) ?? [];
    expect(JSON.parse(String(document))).toMatchObject({ status: "FAILURE", result: { exc_type: "WorkerLostError" } });
  });
}
