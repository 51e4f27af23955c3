import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder for one database file, empty after each `reset`. What the adapters are given is the path of the file. */
export async function startSqlite() {
  let folder = await mkdtemp(join(tmpdir(), "lovage-bench-sqlite-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const remove = () => rm(folder, { recursive: true, force: true });
  return {
    get url() {
      return join(folder, "bench.db");
    },
    async reset() {
      await remove();
      folder = await mkdtemp(join(tmpdir(), "lovage-bench-sqlite-"));
    },
    /** There is no server: all work is done in the processes that are measured. */
    cpuMicros: async () => 0,
    stop: remove,
  };
}
