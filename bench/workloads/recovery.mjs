/**
 * W7: a worker with ten 200 ms tasks under way, of 100, is ended by kill -9; a second starts at once. How long until all 100 are
 * done, counted in a file that the tasks append to. Redis keeps an append-only file here.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nowMs, until } from "../lib/clock.mjs";

const tasks = 100;
const taskMs = 200;
const concurrency = 10;

export const recovery = {
  id: "W7",
  title: "recovery after kill -9",
  appendOnly: true,
  async measure({ start, patienceMs }) {
    const folder = await mkdtemp(join(tmpdir(), "lovage-bench-tasks-"));
    const log = join(folder, "done");
    const done = async () => (await readFile(log, "utf8").catch(() => "")).split("\n").filter(Boolean);
    const config = { results: false, concurrency, log };
    const producer = await start("producer", config);
    const first = await start("worker", config);
    await producer.request("sleepers", { count: tasks, ms: taskMs });
    await until("the first tasks", async () => (await done()).length >= 20, { everyMs: 5 });
    await first.kill();
    const killedAt = nowMs();
    const second = await start("worker", config);
    const all = async () => new Set(await done()).size === tasks;
    const recovered = await until("recovery", all, { everyMs: 20, timeoutMs: patienceMs }).then(
      () => true,
      () => false,
    );
    const recoveredS = (nowMs() - killedAt) / 1000;
    const executed = await done();
    const lost = tasks - new Set(executed).size;
    await Promise.all([second.stop(), producer.stop()]);
    await rm(folder, { recursive: true });
    return {
      recoveredS: recovered ? recoveredS : NaN,
      lost,
      repeated: executed.length - new Set(executed).size,
    };
  },
};
