/**
 * Loads modules of the user's: the app, its tasks, its configuration; TypeScript, ES modules and CommonJS alike.
 * Node loads what it can by itself; jiti what it cannot (TypeScript on Node 20, and on later ones files whose imports
 * leave out the ending). A module that fails while it runs is not run a second time.
 */
import { createRequire } from "node:module";
import { extname } from "node:path";
import { pathToFileURL } from "node:url";
import type { createJiti as CreateJitiFunction, JitiOptions } from "jiti";
import { ModuleLoadError } from "./errors.ts";

export type ModuleExports = Readonly<Record<string, unknown>>;

export const MODULE_EXTENSIONS = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"] as const;

/** Node's way of saying that it cannot load a file, said before any of it has run. */
const NOT_LOADED: ReadonlySet<unknown> = new Set([
  "ERR_UNKNOWN_FILE_EXTENSION",
  "ERR_MODULE_NOT_FOUND",
  "MODULE_NOT_FOUND",
  "ERR_UNSUPPORTED_DIR_IMPORT",
  "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX",
  "ERR_INVALID_TYPESCRIPT_SYNTAX",
  "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING",
  "ERR_NO_TYPESCRIPT",
]);

/** @param file absolute. @throws ModuleLoadError that names the file. */
export async function loadModule(file: string): Promise<ModuleExports> {
  try {
    if (!isTypeScript(file)) return (await import(pathToFileURL(file).href)) as ModuleExports;
    if (nodeStripsTypes()) {
      try {
        return (await import(pathToFileURL(file).href)) as ModuleExports;
      } catch (error) {
        if (!NOT_LOADED.has((error as { code?: unknown }).code)) throw error;
      }
    }
    const { createJiti } = await import("jiti");
    return await createJiti(import.meta.url, JITI_OPTIONS).import<ModuleExports>(file);
  } catch (error) {
    throw new ModuleLoadError(file, error);
  }
}

/** For configuration files, which are read while an app is being used. Top-level await is not possible in them. */
export function loadModuleNow(file: string): ModuleExports {
  const require = createRequire(file);
  try {
    if (extname(file) === ".json" || extname(file) === ".cjs") return require(file) as ModuleExports;
    const { createJiti } = createRequire(import.meta.url)("jiti") as { createJiti: CreateJiti };
    return createJiti(import.meta.url, JITI_OPTIONS)(file) as ModuleExports;
  } catch (error) {
    throw new ModuleLoadError(file, error);
  }
}

type CreateJiti = typeof CreateJitiFunction;

/** Lovage itself is never transformed: a second copy of it would not know the first one's classes. */
const JITI_OPTIONS: JitiOptions = { interopDefault: false, nativeModules: ["lovage"] };

function isTypeScript(file: string): boolean {
  return /\.[cm]?ts$/.test(file);
}

function nodeStripsTypes(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript);
}
