/** A child that is a process of its own: SIGKILL ends it whatever it does, native code included. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { childExecArgv, entryUrl, type SpawnChild } from "./child.ts";
import type { FromChild } from "./messages.ts";

export const spawnProcess: SpawnChild = ({ clock, lostWaitMs }, events) => {
  const child = fork(fileURLToPath(entryUrl("process-entry")), [], {
    serialization: "advanced",
    execArgv: childExecArgv(process.execArgv),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  let error: unknown;
  let isOver = false;
  const over = (how: string): void => {
    if (isOver) return;
    isOver = true;
    events.exited(how, error);
  };
  child.on("message", (message: FromChild) => events.message(message));
  child.once("error", (cause) => {
    error = cause;
    if (child.pid === undefined) over("it could not be started"); // there is no exit to follow
  });
  child.once("exit", (code, signal) => {
    const how = signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`;
    if (!child.connected) return over(how);
    // Its last words may still be in the channel: a task that it had finished is not lost.
    const late = clock.timer(lostWaitMs, () => over(how));
    child.once("disconnect", () => {
      late.cancel();
      over(how);
    });
  });
  return {
    label: `the process ${child.pid ?? "?"}`,
    send(message) {
      if (child.connected) child.send(message, () => undefined); // one that just died is told by its exit
    },
    kill: () => void child.kill("SIGKILL"),
  };
};
