/** Patterns over task names: exact, shell glob (`*` also matches dots, as in Celery), or a regular expression. */
export type NamePattern = string | RegExp;

/** What tells whether a name matches. A text between slashes, `/^images\./`, is a regular expression: config files in JSON have no other way. */
export function nameMatcher(pattern: NamePattern): (name: string) => boolean {
  if (pattern instanceof RegExp) return (name) => fresh(pattern).test(name);
  const written = /^\/(.*)\/([a-z]*)$/s.exec(pattern);
  if (written) return nameMatcher(new RegExp(written[1] as string, written[2]));
  if (!/[*?[]/.test(pattern)) return (name) => name === pattern;
  const glob = globRegExp(pattern);
  return (name) => glob.test(name);
}

/** Sticky and global expressions remember where they stopped; ours must not. */
function fresh(pattern: RegExp): RegExp {
  pattern.lastIndex = 0;
  return pattern;
}

/** As Python's fnmatch: `*`, `?`, `[abc]`, `[!abc]`. */
export function globRegExp(glob: string): RegExp {
  let source = "";
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at] as string;
    const close = char === "[" ? glob.indexOf("]", at + 2) : -1;
    if (char === "*") source += ".*";
    else if (char === "?") source += ".";
    else if (close > 0) {
      const set = glob
        .slice(at + 1, close)
        .replaceAll("\\", "\\\\")
        .replace(/^!/, "^");
      source += `[${set}]`;
      at = close;
    } else source += char.replaceAll(/[\\^$.|+(){}[\]]/g, "\\$&");
  }
  return new RegExp(`^${source}$`, "s");
}
