#!/usr/bin/env node
/** The command `lovage`. */
import { pathToFileURL } from "node:url";
import { otherLocalCopy } from "./local-copy.ts";

// A reader that has seen enough, such as `head`, is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit();
    throw error;
  });
}

const other = otherLocalCopy(process.cwd(), import.meta.url);
if (other === undefined) await run();
else await import(pathToFileURL(other).href);

async function run(): Promise<void> {
  const [{ runProgram }, { InterruptedError }] = await Promise.all([import("./program.ts"), import("./errors.ts")]);
  let interruption: AbortController | undefined;
  const code = await runProgram(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    changeDirectory: (path) => process.chdir(path),
    interruption() {
      if (!interruption) {
        const controller = new AbortController();
        interruption = controller;
        process.once("SIGINT", () => controller.abort(new InterruptedError())); // a second one ends the process
      }
      return interruption.signal;
    },
  });
  // The user's module may hold a database pool open: it must not keep a finished command waiting. Both streams are empty by then.
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
}
