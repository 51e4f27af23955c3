/** A worker process for `long-tasks.mjs`: says when it consumes, stops warm on SIGTERM. */
import { Worker } from "lovage/worker";
import { app } from "./long-tasks.mjs";

const worker = new Worker(app);
process.on("SIGTERM", () => void worker.stop("warm"));
process.once("disconnect", () => void worker.stop("cold"));
await worker.start();
process.send?.("ready");
await worker.finished;
await app.close();
process.disconnect?.();
