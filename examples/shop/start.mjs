import { load } from "./typescript.mjs";

await load("src/start.ts");
