import { mkdtemp, readdir, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { systemClock } from "../../shared/clock.ts";
import { SqliteStore } from "./sqlite-store.ts";

/** How often this process has files of the folder open. */
async function openFiles(folder: string): Promise<number> {
  const names = await readdir("/proc/self/fd");
  const targets = await Promise.all(names.map(async (name) => await readlink(`/proc/self/fd/${name}`).catch(() => "")));
  return targets.filter((target) => target.startsWith(folder)).length;
}

test.runIf(process.platform === "linux")("the file is opened once, by however many it is asked for at first", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-outbox-"));
  const options = { path: join(folder, "shop.db"), clock: systemClock, random: () => 0.5, leaseMs: 1000 };
  {
    await using migrated = new SqliteStore(options);
    await migrated.migrate();
    const before = await openFiles(folder);
    await using store = new SqliteStore(options);
    await Promise.all([store.status(), store.status(), store.claim({ rows: 1, bytes: 1 })]);
    expect((await openFiles(folder)) - before).toBe(1);
  }
  await rm(folder, { recursive: true });
});
