/** `lovage.config.{ts,js,mjs,cjs,json}` beside the app's package.json, or the file that CELERY_CONFIG_MODULE names. */
import { existsSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { ConfigurationError } from "./errors.ts";
import { loadModuleNow } from "./load-module.ts";
import { isPlain } from "./setting-kinds.ts";
import type { SettingsLayer } from "./settings.ts";

const ENDINGS = ["ts", "mts", "js", "mjs", "cjs", "json"] as const;

/**
 * Reads the file's default export, or else its named ones. Relative names start at the app's root, then at the working directory.
 * @param asked a file, with or without its ending; undefined looks for `lovage.config.*`
 * @throws ConfigurationError when a file that was asked for is not there, ModuleLoadError when it cannot be loaded.
 */
export function readConfigFile(root: string, asked: string | undefined, askedBy: string): SettingsLayer | undefined {
  const file = asked === undefined ? find(join(root, "lovage.config")) : findAsked(root, asked);
  if (file === undefined) {
    if (asked === undefined) return undefined;
    throw new ConfigurationError(`${askedBy} names the configuration file ${asked}, which is neither in ${root} nor in ${process.cwd()}`);
  }
  const loaded = loadModuleNow(file);
  const values = "default" in loaded ? loaded["default"] : loaded;
  if (!isPlain(values)) throw new ConfigurationError(`${file} exports no object of settings: write "export default { ... }"`);
  return { origin: file, values };
}

function findAsked(root: string, asked: string): string | undefined {
  if (isAbsolute(asked)) return find(asked);
  return find(join(root, asked)) ?? find(resolve(asked));
}

function find(path: string): string | undefined {
  if (/\.[cm]?[jt]s$|\.json$/.test(path)) return existsSync(path) ? path : undefined;
  return ENDINGS.map((ending) => `${path}.${ending}`).find((file) => existsSync(file));
}
