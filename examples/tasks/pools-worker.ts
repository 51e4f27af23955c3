import { Worker } from "lovage/worker";
import { app } from "./pools.ts";

export const worker = new Worker(app, {
  appModule: new URL("./pools.ts", import.meta.url), // what threads and processes load to find the tasks
});
