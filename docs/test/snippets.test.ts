/**
 * What the docs show is what runs: a fenced block that follows `<!-- file: examples/... -->` must be that file, or with
 * `#region` that part of it, to the letter. The examples themselves are run by their own tests.
 */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const pages = ["README.md", ...readdirSync(new URL("docs/", root)).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)];

for (const page of pages) {
  const text = readFileSync(new URL(page, root), "utf8");
  const marked = [...text.matchAll(/<!-- file: (\S+?)(?:#(\S+))? -->\n+```\w+\n([\s\S]*?)```/g)];
  for (const [, file, region, shown] of marked) {
    test(`${page} shows ${file}${region ? `#${region}` : ""} as it is`, () => {
      expect(shown).toBe(excerpt(readFileSync(new URL(file as string, root), "utf8"), region));
    });
  }

  test(`${page}: each code block in a language that runs is a file`, () => {
    const blocks = text.match(/^```(ts|tsx|mts|js|mjs|cjs|python)$/gm)?.length ?? 0;
    expect(marked.filter(([block]) => /```(ts|tsx|mts|js|mjs|cjs|python)\n/.test(block)).length).toBe(blocks);
  });

  test(`${page}: each link to a file leads somewhere`, () => {
    for (const [, target] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)) {
      expect(() => readFileSync(new URL(target as string, new URL(page, root)))).not.toThrow();
    }
  });
}

function excerpt(text: string, region: string | undefined): string {
  if (region === undefined) return text;
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.trim() === `// #region ${region}` || line.trim() === `# region ${region}`);
  const end = lines.findIndex((line, at) => at > start && /^\s*(\/\/ #|# )endregion/.test(line));
  if (start < 0 || end < 0) throw new Error(`no region ${region}`);
  const part = lines.slice(start + 1, end);
  const indent = Math.min(...part.filter((line) => line.trim()).map((line) => /^\s*/.exec(line)?.[0].length ?? 0));
  return part.map((line) => line.slice(indent)).join("\n") + "\n";
}
