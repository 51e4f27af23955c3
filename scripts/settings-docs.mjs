/** `npm run docs` also writes docs/settings.md, from the one table of settings. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "./lib/run.mjs";
import { build } from "./lib/workspace.mjs";

await build();
const { renderSettingsDocs } = await import(join(root, "packages/core/dist/app/settings-docs.js"));
await writeFile(join(root, "docs/settings.md"), renderSettingsDocs());
