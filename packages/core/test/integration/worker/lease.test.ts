import { expect, test } from "vitest";
import { Lovage } from "lovage";
import { RecordingWorkers } from "../../support/recording-workers.ts";
import { temporaryStores } from "../../support/stores.ts";

const LEASE_S = 1;
const settings = { leaseTime: LEASE_S };

function appOf(url: string): Lovage {
  return new Lovage("lease", { brokerUrl: url, resultBackend: url, env: false, configFile: false, ...settings });
}

test.each(temporaryStores())(
  "$kind: a task that blocks its worker for three leases runs once, beside a worker that would take it",
  async ({ open }) => {
    await using store = await open();
    await using workers = new RecordingWorkers({ broker: store.url, backend: store.url, settings, concurrency: 2 });
    await using app = appOf(store.url);
    await workers.start();
    await workers.start();
    const blocked = await Promise.all([0, 1, 2, 3].map((index) => app.sendTask<number>("test.block", [index, LEASE_S * 3000])));
    const pids = await Promise.all(blocked.map((result) => result.get({ timeout: 30 })));
    expect(new Set(pids).size).toBe(2); // both had some
    expect(workers.lines().toSorted()).toEqual(["0", "1", "2", "3"]);
    expect(workers.log).toEqual([]);
  },
);

test.each(temporaryStores())(
  "$kind: what a stopped process held runs elsewhere; when it goes on, it is told and nothing of it is kept",
  async ({ open }) => {
    await using store = await open();
    await using workers = new RecordingWorkers({ broker: store.url, backend: store.url, settings, concurrency: 4 });
    await using app = appOf(store.url);
    const first = await workers.start();
    const result = await app.sendTask<number>("test.reason", [7]);
    await first.said("running");
    first.process.kill("SIGSTOP");
    const second = await workers.start();
    await second.said("running"); // swept once the first one's lease had run out
    first.process.kill("SIGCONT");
    await workers.executed(1, 20_000);
    expect(workers.lines()).toEqual(["7 LeaseLostError"]);
    expect(await result.state()).toBe("PENDING"); // the second one runs on, the first one's outcome does not count
  },
);
