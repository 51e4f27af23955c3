/** What this copy of Lovage calls itself. */
import { readFileSync } from "node:fs";

/** From the package's own package.json, two directories above `dist/cli/version.js` and `src/cli/version.ts` alike. */
export function lovageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  return version;
}
