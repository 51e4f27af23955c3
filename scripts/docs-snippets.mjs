/** `npm run docs`: copies the files that the docs show into them. `docs/test/snippets.test.ts` checks that it was done. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "./lib/run.mjs";
import { excerpt, snippetsOf } from "./lib/snippets.mjs";

const pages = ["README.md", ...(await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)];

for (const page of pages) {
  const before = await readFile(join(root, page), "utf8");
  let after = before;
  for (const { block, file, region, language, mark } of snippetsOf(before)) {
    const shown = excerpt(await readFile(join(root, file), "utf8"), region);
    after = after.replace(block, () => `<!-- file: ${mark} -->\n\n\`\`\`${language}\n${shown}\`\`\``);
  }
  if (after !== before) await writeFile(join(root, page), after);
}
