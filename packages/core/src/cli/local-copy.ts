/** Which copy of Lovage a command is to run with, where more than one is installed. */
import { existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The command of the copy that the project in this directory has installed, when that is another one than `own`: a `lovage`
 * installed globally must not run an app with other code than the app itself imports. undefined when there is none.
 */
export function otherLocalCopy(directory: string, own: string): string | undefined {
  try {
    const manifest = createRequire(join(directory, "package.json")).resolve("lovage/package.json");
    const command = join(dirname(manifest), "dist/cli/main.js");
    return existsSync(command) && realpathSync(command) !== realpathSync(fileURLToPath(own)) ? command : undefined;
  } catch {
    return undefined; // not installed there
  }
}
