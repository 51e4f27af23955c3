/**
 * Loads the Lua scripts beside this file. A script that must also run on a full Redis begins with
 * `#!lua flags=allow-oom` there; Redis before 7 does not know such a line, so it is sent without.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

export interface RedisScript {
  readonly name: string;
  /** For Redis 7 and newer. */
  readonly modern: ScriptText;
  /** For Redis 6.2. */
  readonly plain: ScriptText;
}

export interface ScriptText {
  readonly source: string;
  readonly sha: string;
}

/** Reads `lua/<name>.lua`: once per process, when its driver is loaded. A line `-- @include other` stands for that file. */
export function loadScript(name: string): RedisScript {
  const source = read(name).replace(/^-- @include (.+)\n/gm, (_, other: string) => read(other));
  return { name, modern: text(source), plain: text(source.replace(/^#![^\n]*\n/, "\n")) };
}

function read(name: string): string {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), "utf8");
}

function text(source: string): ScriptText {
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}
