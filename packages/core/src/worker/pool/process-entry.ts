/**
 * Where a process of a pool begins. Signals are its worker's to heed: a terminal and a service manager send them to the
 * whole group. It goes when its channel does; and should its event loop be blocked just then, a thread of its own
 * sees that its parent is gone.
 */
import { Worker as Thread } from "node:worker_threads";
import { entryUrl } from "./child.ts";
import { ChildRunner } from "./child-runner.ts";
import type { FromChild, ToChild } from "./messages.ts";

if (process.send) run();

function run(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const) process.on(signal, () => undefined);
  process.on("disconnect", () => process.exit(0));
  process.title = "lovage child";
  new Thread(entryUrl("orphan-watch"), {
    workerData: process.ppid,
    execArgv: [],
    name: "lovage-orphan-watch",
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 },
  }).unref();
  let unsent = 0;
  let onSent: (() => void) | undefined;
  const runner = new ChildRunner({
    send(message: FromChild) {
      unsent += 1;
      process.send?.(message, undefined, undefined, () => {
        unsent -= 1;
        if (unsent === 0) onSent?.();
      });
    },
    memoryKib: () => Math.round(process.memoryUsage.rss() / 1024),
    exit(code) {
      onSent = () => process.exit(code);
      if (unsent === 0) onSent();
    },
  });
  process.on("message", (message: ToChild) => runner.hear(message));
}
