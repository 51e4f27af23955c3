/** Versions of the packages that Lovage stands on, as they are found from here: for bug reports. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

/** undefined when the package is not installed. */
export function packageVersion(name: string): string | undefined {
  const require = createRequire(import.meta.url);
  for (const directory of require.resolve.paths(name) ?? []) {
    const file = join(directory, name, "package.json");
    if (existsSync(file)) return (JSON.parse(readFileSync(file, "utf8")) as { version?: string }).version;
  }
  return undefined;
}
