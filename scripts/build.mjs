import { build } from "./lib/workspace.mjs";

await build();
