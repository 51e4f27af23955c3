/** What the docs show is what runs: a marked block must be its file to the letter; the examples are run by their own tests. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { excerpt, snippetsOf } from "../../scripts/lib/snippets.mjs";

const root = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const pages = [
  "README.md",
  ...readdirSync(new URL("docs/", root))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

for (const page of pages) {
  const text = read(page);
  const snippets = snippetsOf(text);

  for (const { file, region, mark, shown } of snippets) {
    test(`${page} shows ${mark} as it is`, () => expect(shown).toBe(excerpt(read(file as string), region)));
  }

  test(`${page}: each code block in a language that runs is a file`, () => {
    const blocks = text.match(/^```(ts|tsx|mts|js|mjs|cjs|python)$/gm)?.length ?? 0;
    expect(snippets.filter(({ language }) => /^(ts|tsx|mts|js|mjs|cjs|python)$/.test(language as string)).length).toBe(blocks);
  });

  test(`${page}: each link to a file leads somewhere`, () => {
    for (const [, target] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)) {
      expect(() => readFileSync(new URL(target ?? "", new URL(page, root))), `link to ${target}`).not.toThrow();
    }
  });
}
