/**
 * Whether a control message is for this node: named in its destination, or matched by its pattern, or meant for all
 * (celery-protocol.md 11.1). A pattern is somebody else's regular expression, so it is given little text and little time.
 */
import { createContext, runInContext } from "node:vm";

import type { ControlRequest } from "../../protocol/control.ts";

const PATTERN_MAX = 1000;
/** Wall time, which a busy machine spends elsewhere: far more than any honest pattern takes. */
const MATCH_MS = 250;

export function isMeant({ destination, pattern, matcher }: ControlRequest, node: string): boolean {
  if (destination !== undefined) return destination.includes(node);
  if (pattern === undefined || matcher === undefined) return true;
  if (pattern.length > PATTERN_MAX) return false;
  return matches(matcher === "glob" ? globSource(pattern) : `^(?:${pattern})`, node); // pcre: at the start, as Python's re.match
}

/** What cannot be compiled matches nothing. So does what takes too long: a pattern can be made to try for years. */
function matches(source: string, text: string): boolean {
  try {
    const context = createContext({ source, text }, { codeGeneration: { strings: false, wasm: false } });
    return runInContext('new RegExp(source, "u").test(text)', context, { timeout: MATCH_MS }) === true;
  } catch {
    return false;
  }
}

/** As Python's fnmatch reads it: `*`, `?`, `[abc]`, `[!abc]`; all else is itself. */
function globSource(glob: string): string {
  let source = "";
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at] as string;
    const end = char === "[" ? glob.indexOf("]", at + (glob[at + 1] === "!" ? 3 : 2)) : -1;
    if (char === "*") source += "[^]*";
    else if (char === "?") source += "[^]";
    else if (end > 0) {
      const set = glob.slice(at + 1, end);
      const isNot = set.startsWith("!");
      source += `[${isNot ? "^" : ""}${(isNot ? set.slice(1) : set).replaceAll(/[\\\]^[]/g, String.raw`\$&`)}]`;
      at = end;
    } else source += char.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
  }
  return `^${source}$`;
}
