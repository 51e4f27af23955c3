/**
 * A worker with a pool of children, in a process of its own: does what its parent says over IPC, and tells it what it
 * logs. Plain JavaScript, because Node 20 starts no TypeScript.
 */
import { pathToFileURL } from "node:url";
import { Worker } from "lovage/worker";

const { app } = await import(pathToFileURL(process.env.TEST_APP).href);
const say = (level) => (fields, message) =>
  void (process.connected && process.send({ kind: "log", line: `${level} ${message}${fields.err ? ` (${fields.err.message})` : ""}` }));
const logger = { debug() {}, info: say("info"), warn: say("warn"), error: say("error"), child: () => logger };
const worker = new Worker(app, { logger, ...JSON.parse(process.env.TEST_OPTIONS) });

async function end(how) {
  await worker.stop(how);
  await app.close();
  process.disconnect();
}

process.on("message", ({ kind, slots, how, taskId }) => {
  if (kind === "resize") worker.resize(slots);
  else if (kind === "revoke") worker.revoke(taskId, { terminate: true });
  else if (kind === "status") process.send({ kind: "status", status: worker.status() });
  else if (kind === "stop") void end(how);
});
worker.finished.catch((error) => process.send({ kind: "failed", code: error.code, message: error.message }));
try {
  await worker.start();
  process.send({ kind: "ready" });
} catch (error) {
  process.send({ kind: "failed", code: error.code, message: error.message });
  process.disconnect();
}
