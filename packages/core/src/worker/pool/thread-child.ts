/** A child that is a thread. `terminate` ends JavaScript whatever it does; a blocking native call it can only wait for. */
import { Worker as Thread } from "node:worker_threads";
import { childExecArgv, entryUrl, type SpawnChild } from "./child.ts";
import type { FromChild } from "./messages.ts";

export const spawnThread: SpawnChild = ({ name }, events) => {
  const thread = new Thread(entryUrl("thread-entry"), { name, execArgv: threadExecArgv(), stdin: false });
  const label = `the thread ${thread.threadId}`;
  let error: unknown;
  let isKilled = false;
  thread.on("message", (message: FromChild) => events.message(message));
  thread.on("messageerror", (cause) => (error = cause));
  thread.once("error", (cause) => (error = cause));
  thread.once("exit", (code) => events.exited(isKilled ? "it was terminated" : `it exited with code ${code}`, error));
  return {
    label,
    send: (message, transfer = []) => thread.postMessage(message, transfer as ArrayBuffer[]),
    kill() {
      isKilled = true;
      void thread.terminate();
    },
  };
};

/** Options of V8 and of the process as a whole are not accepted for threads; those that load code are. */
function threadExecArgv(): string[] {
  const kept: string[] = [];
  const given = childExecArgv(process.execArgv);
  for (let i = 0; i < given.length; i++) {
    const option = given[i] as string;
    if (!/^(?:-r|-C|--(?:import|require|loader|experimental-loader|conditions|enable-source-maps|no-warnings))(?:=|$)/.test(option))
      continue;
    kept.push(option);
    if (/^(?:-r|-C|--(?:import|require|loader|experimental-loader|conditions))$/.test(option)) kept.push(given[++i] ?? "");
  }
  return kept;
}
