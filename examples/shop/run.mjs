/** `node run.mjs src/web.ts` */
import { load } from "./typescript.mjs";

await load(process.argv[2]);
