/** One Redis with a Lovage worker on the queue `node`, a Python worker on the queue `python`, and a Python producer. */
import type { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { Kept } from "../support/kept.ts";
import { PythonPeer, PythonWorker } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

export interface MixedWorkers extends AsyncDisposable {
  /** Its broker and results are those of all. */
  readonly app: Lovage;
  readonly peer: PythonPeer;
}

/**
 * Resolves when both workers consume.
 * @param define gives the Lovage worker tasks beside those of `nodeApp`
 * @param queues what the Lovage worker takes from
 */
export async function mixedWorkers(define: (app: Lovage) => void, queues: readonly string[] = ["node"]): Promise<MixedWorkers> {
  const kept = new Kept();
  try {
    const redis = kept.keep(await RedisServer.start());
    const urls = { broker: redis.url, backend: redis.url.replace(/0$/, "1") };
    const app = kept.keep(nodeApp({ brokerUrl: urls.broker, resultBackend: urls.backend }));
    define(app);
    await kept.keep(new Worker(app, { queues, concurrency: 10, name: "node@mixed" })).start();
    await kept.keep(new PythonWorker(urls)).ready;
    const peer = kept.keep(new PythonPeer(urls));
    return { app, peer, [Symbol.asyncDispose]: async () => await kept[Symbol.asyncDispose]() };
  } catch (error) {
    await kept[Symbol.asyncDispose]();
    throw error;
  }
}
