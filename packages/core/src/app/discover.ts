// Finds task modules by glob, such as `src/**/tasks.{ts,js,mjs,cjs}`.
import { readdir } from "node:fs/promises";
import { basename, extname, join, relative, sep } from "node:path";

/**
 * Absolute paths, sorted. Folders named node_modules and those that begin with a dot are left out, and declaration
 * files. Where a module stands beside its own compiled form, only the one with the ending of `like` is taken.
 */
export async function discover(root: string, patterns: readonly string[], like = ".ts"): Promise<string[]> {
  const matchers = patterns.flatMap(expandBraces).map(pathGlob);
  const found = (await filesBelow(root)).filter((file) => {
    const path = relative(root, file).split(sep).join("/");
    return !/\.d\.[cm]?ts$/.test(file) && matchers.some((matcher) => matcher.test(path));
  });
  return withoutTwins(found, like).toSorted();
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const nested = await Promise.all(
    entries.map(async (entry) => {
      if (entry.name === "node_modules" || entry.name.startsWith(".")) return [];
      const path = join(directory, entry.name);
      return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
    }),
  );
  return nested.flat();
}

function withoutTwins(files: readonly string[], like: string): string[] {
  const byStem = new Map<string, string>();
  for (const file of files) {
    const stem = join(file, "..", basename(file, extname(file)));
    if (!byStem.has(stem) || extname(file) === like) byStem.set(stem, file);
  }
  return [...byStem.values()];
}

/** `a.{ts,js}` is `a.ts` and `a.js`. */
export function expandBraces(pattern: string): string[] {
  const match = /^(.*?)\{([^{}]*)\}(.*)$/.exec(pattern);
  if (!match) return [pattern];
  const [, before = "", choices = "", after = ""] = match;
  return choices.split(",").flatMap((choice) => expandBraces(before + choice + after));
}

/** `**` crosses folders, `*` and `?` do not. */
export function pathGlob(pattern: string): RegExp {
  const source = pattern
    .replace(/^\.\//, "")
    .replaceAll(/[\\^$.|+()[\]{}]/g, "\\$&")
    .replaceAll(/\*\*\/|\*\*|\*|\?/g, (wild) => (wild === "**/" ? "(?:[^/]+/)*" : wild === "**" ? ".*" : wild === "*" ? "[^/]*" : "[^/]"));
  return new RegExp(`^${source}$`);
}
