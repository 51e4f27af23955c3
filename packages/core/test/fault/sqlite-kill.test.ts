import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openSqliteBroker } from "../../src/brokers/sqlite/index.ts";
import { sleep, systemClock, systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { sqliteSpec } from "../../src/stores/sqlite/spec.ts";
import { takeOnce } from "../conformance/broker-model.ts";
import { temporaryDatabase } from "../support/sqlite.ts";

const PROGRAM = fileURLToPath(new URL("./sqlite-kill-child.mjs", import.meta.url));
/** The long form is `LOVAGE_SOAK=1`. */
const KILLS = process.env.LOVAGE_SOAK ? 150 : 25;
const CONCURRENCY = 10;
const LEASE_MS = 1500;
const ENOUGH_MS = 60_000;

test(
  `a publisher and two workers on one file, one of the three killed with -9, ${KILLS} times`,
  { timeout: KILLS * 2000 + 2 * ENOUGH_MS },
  async ({ annotate }) => {
    await using database = await temporaryDatabase();
    const spec = sqliteSpec(database.path);
    const file = (name: string): string => join(dirname(database.path), name);
    let leasesLost = 0;
    const start = async (role: "publisher" | "worker"): Promise<ChildProcess> => {
      const record = file(role);
      const child = fork(PROGRAM, [JSON.stringify({ role, spec, record, concurrency: CONCURRENCY, leaseMs: LEASE_MS })], { execArgv: [] });
      child.on("message", (said) => void (said === "lost" && leasesLost++));
      await once(child, "message");
      return child;
    };
    const kill = async (child: ChildProcess | undefined): Promise<void> => {
      child?.kill("SIGKILL");
      if (child?.exitCode === null && child.signalCode === null) await once(child, "exit");
    };
    const children = [await start("publisher"), await start("worker"), await start("worker")];
    try {
      let workerKills = 0;
      for (let at = 0; at < KILLS; at++) {
        await sleep(systemClock, 100 + 200 * systemRandom());
        const which = at % children.length;
        await kill(children[which]);
        if (which > 0) workerKills++;
        children[which] = await start(which === 0 ? "publisher" : "worker");
      }
      await kill(children[0]);

      await using broker = await openSqliteBroker(spec, { clock: systemClock, random: systemRandom, logger: silentLogger });
      const until = performance.now() + ENOUGH_MS;
      for (;;) {
        const [work] = await broker.depth(["work"]);
        if (work?.ready === 0 && work.onLoan === 0) break;
        expect(performance.now(), JSON.stringify(work)).toBeLessThan(until);
        await sleep(systemClock, 50);
      }
      await Promise.all(children.map(kill));

      const published = linesOf(file("publisher"));
      const begun = linesOf(file("worker"));
      const executed = new Set(begun);
      const allowed = (workerKills + leasesLost) * CONCURRENCY;
      await annotate(`${executed.size} executed, ${begun.length - executed.size} repeated, ${allowed} allowed, ${leasesLost} leases lost`);
      expect(published.filter((id) => !executed.has(id))).toEqual([]);
      expect(begun.length - executed.size).toBeLessThanOrEqual(allowed);

      // A settlement is one step: what followed from each message came once, however often it was begun.
      const [done] = await broker.depth(["done"]);
      const followed: string[] = [];
      while (followed.length < (done?.ready ?? 0)) {
        for (const delivery of await takeOnce(broker, ["done"], "test", 500)) followed.push(String(delivery.open().message.headers.id));
      }
      expect(followed.toSorted()).toEqual([...executed].toSorted());
      expect(published.length).toBeGreaterThan(KILLS * 10);
    } finally {
      await Promise.all(children.map(kill));
    }
  },
);

test("eight processes make one file at the same moment", async () => {
  for (let round = 0; round < 3; round++) {
    await using database = await temporaryDatabase();
    const options = { role: "publisher", spec: sqliteSpec(database.path), record: `${database.path}-record` };
    const children = Array.from({ length: 8 }, () => fork(PROGRAM, [JSON.stringify(options)], { execArgv: [] }));
    const answers = await Promise.all(children.map((child) => Promise.race([once(child, "message"), once(child, "exit")])));
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map(async (child) => child.exitCode ?? child.signalCode ?? (await once(child, "exit"))));
    expect(answers.map(([said]) => said)).toEqual(children.map(() => "ready"));
  }
});

function linesOf(path: string): string[] {
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
}
