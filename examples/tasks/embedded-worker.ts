/** A worker in a process of your own. It handles no signals by itself, and never ends the process. */
import { Worker } from "lovage/worker";
import { app } from "./tasks.ts";

const worker = new Worker(app, { concurrency: 20 });
process.on("SIGTERM", () => void worker.stop()); // once more hurries it
process.on("SIGTSTP", () => void worker.quiet()); // takes nothing more, what runs goes on
process.on("SIGCONT", () => void worker.resume());

await worker.start();
await worker.finished; // rejects when the worker could not go on
await app.close();
