/**
 * Reads `-A`: which file, and which of its exports. Nothing is imported here, so that the supervisor, which loads no
 * user code, can tell a mistyped path at once.
 *
 *   ./src/app.ts    src/app    proj.app    proj/app.js:other    some-package/app
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { nearestName } from "../shared/suggest.ts";
import { AppNotFoundError } from "./errors.ts";

export interface AppTarget {
  /** Absolute. */
  readonly file: string;
  /** undefined: `app`, the default export, or the only app among the exports. */
  readonly exportName: string | undefined;
}

const EXTENSIONS = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];
/** In a hint, at most. */
const MODULES_NAMED = 5;
/** Files that a directory stands for. */
const INDEX_NAMES = ["app", "index", "celery"];

/** @throws AppNotFoundError that says what was looked for, and the nearest name that is there. */
export function resolveAppArgument(argument: string, directory: string): AppTarget {
  const { path, exportName } = splitArgument(argument);
  const file = findFile(resolve(directory, path)) ?? findDotted(path, directory) ?? findInPackages(path, directory);
  if (file === undefined) throw notFound(path, directory);
  return { file, exportName };
}

/** `module:export`; a Windows drive letter is no module. */
function splitArgument(argument: string): { path: string; exportName: string | undefined } {
  const match = /^(.{2,}):([\p{ID_Start}$_][\p{ID_Continue}$]*)$/u.exec(argument);
  return match ? { path: match[1] as string, exportName: match[2] } : { path: argument, exportName: undefined };
}

function findFile(base: string): string | undefined {
  if (isFile(base)) return base;
  const withEnding = EXTENSIONS.map((extension) => base + extension).find(isFile);
  if (withEnding !== undefined) return withEnding;
  return INDEX_NAMES.flatMap((name) => EXTENSIONS.map((extension) => join(base, name + extension))).find(isFile);
}

/** Python's way to write it: `proj.celery`. */
function findDotted(path: string, directory: string): string | undefined {
  if (!/^[\w-]+(?:\.[\w-]+)+$/.test(path)) return undefined;
  return findFile(resolve(directory, path.replaceAll(".", "/")));
}

function findInPackages(path: string, directory: string): string | undefined {
  if (path.startsWith(".") || path.startsWith("/")) return undefined;
  try {
    return createRequire(join(directory, "package.json")).resolve(path);
  } catch {
    return undefined;
  }
}

function notFound(path: string, directory: string): AppNotFoundError {
  const base = resolve(directory, path);
  const parent = dirname(base);
  const shown = relative(directory, base) || ".";
  if (existsSync(base))
    return new AppNotFoundError(`there is no app module in the directory ${shown}`, `name the file itself: -A ${join(shown, "app.ts")}`);
  if (!existsSync(parent))
    return new AppNotFoundError(`there is no app module ${shown}: the directory ${relative(directory, parent) || parent} does not exist`);
  const modules = readdirSync(parent).filter((name) => EXTENSIONS.some((extension) => name.endsWith(extension)) && !name.endsWith(".d.ts"));
  const near = nearestName(basename(base), [...modules, ...modules.map(withoutEnding)]);
  const there = modules.slice(0, MODULES_NAMED).map((name) => relative(directory, join(parent, name)));
  return new AppNotFoundError(
    `there is no app module ${shown} (tried it as it is, and with ${EXTENSIONS.join(", ")})`,
    near !== undefined
      ? `did you mean ${relative(directory, join(parent, near))}?`
      : there.length > 0
        ? `there is ${there.join(", ")}`
        : "-A takes the path of the module that makes the app, such as ./src/app.ts",
  );
}

function withoutEnding(name: string): string {
  return name.replace(/\.[cm]?[jt]s$/, "");
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
