/** Tells of changed source files below a directory: for `lovage worker --watch`. */
import { watch, type FSWatcher } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";
import type { Clock, Timer } from "../shared/clock.ts";

/** Editors and compilers write several files, some twice: one change is what stays quiet for so long. */
const QUIET_MS = 200;
const IGNORED: ReadonlySet<string> = new Set(["node_modules", "dist", ".lovage", ".git"]);
const WATCHED = new Set([".ts", ".mts", ".cts", ".js", ".mjs", ".cjs", ".tsx", ".jsx", ".json", ".yaml", ".yml"]);

export interface WatchOptions {
  readonly clock: Clock;
  /** Looked at even where its directory has an ignored name: the app itself may be compiled into `dist`. */
  readonly always: string;
  /** The files, relative to the directory. */
  onChange(files: readonly string[]): void;
}

/**
 * Each directory has a watcher of its own: a recursive one would, on Linux, also watch what is ignored here, and a
 * `node_modules` is larger than the number of watches a user may have. Resolves once all are in place.
 */
export async function watchSources(root: string, options: WatchOptions): Promise<{ close(): void }> {
  const watchers = new Map<string, FSWatcher>();
  const changed = new Set<string>();
  let timer: Timer | undefined;
  let isClosed = false;

  const note = (path: string): void => {
    changed.add(relative(root, path));
    timer?.cancel();
    timer = options.clock.timer(QUIET_MS, () => {
      const files = [...changed].toSorted();
      changed.clear();
      options.onChange(files);
    });
  };

  const onEvent = async (path: string): Promise<void> => {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) await add(path, true);
    else if (WATCHED.has(extname(path))) note(path);
    if (!found) drop(path);
  };

  const drop = (directory: string): void => {
    for (const [path, watcher] of watchers) {
      if (path !== directory && !path.startsWith(directory + sep)) continue;
      watcher.close();
      watchers.delete(path);
    }
  };

  /** @param isNew files that are there already are news too */
  const add = async (directory: string, isNew: boolean): Promise<void> => {
    if (isClosed || watchers.has(directory) || isIgnored(directory, root, options.always)) return;
    try {
      const watcher = watch(directory, (_event, name) => {
        if (name !== null) void onEvent(join(directory, name));
      });
      watcher.on("error", () => drop(directory)); // it was removed
      watchers.set(directory, watcher);
      for (const entry of await readdir(directory, { withFileTypes: true })) {
        if (entry.isDirectory()) await add(join(directory, entry.name), isNew);
        else if (isNew && WATCHED.has(extname(entry.name))) note(join(directory, entry.name));
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // it went away while it was looked at
    }
  };

  await add(root, false);
  return {
    close() {
      isClosed = true;
      timer?.cancel();
      drop(root);
    },
  };
}

function isIgnored(directory: string, root: string, always: string): boolean {
  if (always.startsWith(directory + sep)) return false;
  const inside = always.slice(0, always.lastIndexOf(sep));
  const path = directory.startsWith(inside) ? relative(inside, directory) : relative(root, directory);
  return path.split(sep).some((name) => IGNORED.has(name));
}
