/**
 * Where an app's files are: the module that made it, and the root beside whose package.json the configuration file and
 * the embedded database stand. The module is the one that called `new Lovage()`; where that cannot be told (code without
 * a file) the working directory takes its place.
 */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export interface AppFiles {
  /** Absolute; undefined when the app was made by code that is in no file. */
  readonly module: string | undefined;
  /** Directory of the nearest package.json above the module, else the module's own. */
  readonly root: string;
}

/** @param above the constructor whose caller is meant. */
export function callerFile(above: Function): string | undefined {
  const { stackTraceLimit } = Error;
  const prepare = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace");
  try {
    Error.stackTraceLimit = 1;
    Error.prepareStackTrace = (_, sites) => sites;
    const holder: { stack?: NodeJS.CallSite[] } = {};
    Error.captureStackTrace(holder, above);
    return toPath(holder.stack?.[0]?.getFileName());
  } finally {
    if (prepare) Object.defineProperty(Error, "prepareStackTrace", prepare);
    else Reflect.deleteProperty(Error, "prepareStackTrace");
    Error.stackTraceLimit = stackTraceLimit;
  }
}

export function locateApp(module: string | undefined): AppFiles {
  const from = module === undefined ? process.cwd() : dirname(module);
  return { module, root: packageRoot(from) ?? from };
}

function packageRoot(from: string): string | undefined {
  for (let directory = from; ; directory = dirname(directory)) {
    if (existsSync(join(directory, "package.json"))) return directory;
    if (dirname(directory) === directory) return undefined;
  }
}

function toPath(name: string | null | undefined): string | undefined {
  if (!name) return undefined;
  if (name.startsWith("file:")) return fileURLToPath(name);
  return resolve(name) === name ? name : undefined;
}
