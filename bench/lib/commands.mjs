import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** How often clients sent each command while `during` ran; scripts of Lovage by their names. */
export async function watchCommands(store, during) {
  const monitor = await store.client.monitor();
  const counts = {};
  monitor.on("monitor", (_time, args, source) => {
    if (source === "lua") return;
    const [command, first] = args;
    const name = command.toLowerCase().startsWith("evalsha") ? (scriptNames().get(first) ?? command.toLowerCase()) : command.toLowerCase();
    if (name !== "info") counts[name] = (counts[name] ?? 0) + 1;
  });
  await during();
  monitor.disconnect();
  return counts;
}

let names;

function scriptNames() {
  if (names) return names;
  const folder = join(dirname(createRequire(import.meta.url).resolve("lovage")), "stores/redis/lua");
  names = new Map(
    (existsSync(folder) ? readdirSync(folder) : []).map((file) => [
      createHash("sha1")
        .update(readFileSync(join(folder, file)))
        .digest("hex"),
      file.replace(".lua", ""),
    ]),
  );
  return names;
}
