/** Where a thread of a pool begins. */
import { parentPort } from "node:worker_threads";
import { getHeapStatistics } from "node:v8";
import { ChildRunner } from "./child-runner.ts";
import type { FromChild, ToChild } from "./messages.ts";

if (parentPort) runIn(parentPort);

function runIn(port: NonNullable<typeof parentPort>): void {
  const runner = new ChildRunner({
    send: (message: FromChild, transfer = []) => port.postMessage(message, transfer as ArrayBuffer[]),
    // A thread has no resident size of its own: this is what its part of the heap, and buffers outside of it, take.
    memoryKib() {
      const { total_heap_size: heap, malloced_memory: malloced, external_memory: external } = getHeapStatistics();
      return Math.round((heap + malloced + external) / 1024);
    },
    exit: (code) => setImmediate(() => process.exit(code)), // ends this thread only
  });
  port.on("message", (message: ToChild) => runner.hear(message));
}
