import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The repository's folder, with a trailing slash. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Runs a command in the repository with its output shown. Resolves with the exit code; 1 when a signal ended it. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", ...options });
    const forward = (signal) => child.kill(signal);
    process.on("SIGINT", forward).on("SIGTERM", forward);
    child.once("error", reject);
    child.once("exit", (code) => {
      process.off("SIGINT", forward).off("SIGTERM", forward);
      resolve(code ?? 1);
    });
  });
}

/** As `run`, but a failure ends this process with one sentence. */
export async function must(what, command, args, options) {
  const code = await run(command, args, options).catch((error) => {
    console.error(`${what} failed: ${error.message}`);
    process.exit(1);
  });
  if (code !== 0) {
    console.error(`${what} failed (${command} ${args.join(" ")} exited with ${code}).`);
    process.exit(code);
  }
}

/** The output of a command, trimmed; undefined when it cannot be run or fails. */
export function output(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
    let text = "";
    child.stdout.on("data", (chunk) => (text += chunk));
    child.once("error", () => resolve(undefined));
    child.once("close", (code) => resolve(code === 0 ? text.trim() : undefined));
  });
}
