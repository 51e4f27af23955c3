/** A dead-letter queue of a Lovage worker, consumed by Python. */
import { expect, test } from "vitest";
import { Worker } from "lovage/worker";
import { eventually } from "../support/eventually.ts";
import { python, PythonWorker } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

test.skipIf(python === undefined)("Python runs the handler of a dead letter, and knows where it comes from", async () => {
  await using redis = await RedisServer.start();
  const backend = redis.url.replace(/0$/, "1");
  await using app = nodeApp({ brokerUrl: redis.url, resultBackend: backend });
  const doomed = app.task({
    name: "node.doomed",
    deadLetter: { queue: "python", task: "python.request" },
    run: (_ctx, text: unknown) => {
      throw new RangeError(String(text));
    },
  });
  const copied = app.task({
    name: "python.echo", // both sides know it: the copy in the queue is run by Python
    deadLetter: { queue: "python" },
    run: (_ctx, text: unknown) => {
      throw new RangeError(String(text));
    },
  });
  const worker = new Worker(app, { queues: ["node"] });
  await worker.start();
  await using peer = new PythonWorker({ broker: redis.url, backend, arguments: ["-Q", "python"] });
  await peer.ready;
  const sent = await copied.delay("hello");
  await eventually("Python's run of the message itself", async () => peer.output.includes(`python.echo[${sent.id}] succeeded`));
  const failed = await doomed.delay({ deep: [1] });
  await expect(failed.get({ timeout: "10s" })).rejects.toThrow();
  const handled = await eventually("the handler's call", async () => /python\.request\[[^\]]+\] succeeded.*/.exec(peer.output)?.[0]);
  expect(handled).toContain(`'parent_id': '${failed.id}'`);
  expect(handled).toContain("RangeError: [object Object]");
  await worker.stop();
});
