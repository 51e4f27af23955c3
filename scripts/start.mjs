/** `npm start`: the example shop, installed and built first where needed. Arguments go to the example. */
import { join } from "node:path";
import { root, run } from "./lib/run.mjs";
import { build, ensureInstalled } from "./lib/workspace.mjs";

await ensureInstalled();
await build();
process.exit(await run(process.execPath, [join(root, "examples/shop/start.mjs"), ...process.argv.slice(2)]));
