/** The web process: the page, and the interface that it talks to. */
import { app } from "./app.ts";
import { serve } from "./process.ts";
import { shopServer } from "./server.ts";
import { settings } from "./settings.ts";

await serve(await shopServer(), settings.port);
await app.close();
