/** What both pools of children do, on the embedded store. */
import { cpus } from "node:os";
import { describe, expect, test } from "vitest";
import { RemoteTaskError, TaskRevokedError, TimeLimitExceeded } from "lovage";
import { eventually } from "../../support/eventually.ts";
import { isAlive, PoolProject } from "../../support/pool-project.ts";
import { temporaryDatabase } from "../../support/sqlite.ts";

/** Times as they are promised, on a machine that does nothing else. */
const isSoak = process.env.LOVAGE_SOAK === "1";

async function openProject(settings: ConstructorParameters<typeof PoolProject>[1] = {}) {
  const database = await temporaryDatabase();
  const project = new PoolProject(`sqlite://${database.path}`, settings);
  return Object.assign(project, {
    async [Symbol.asyncDispose]() {
      await PoolProject.prototype[Symbol.asyncDispose].call(project);
      await database[Symbol.asyncDispose]();
    },
  });
}

describe.each(["threads", "processes"])("%s", (pool) => {
  test("tasks run in children, with all that their context offers", async () => {
    await using project = await openProject();
    const worker = await project.start(pool);
    expect(await project.call("add", 2, 3)).toBe(5);
    const [pid, thread] = (await project.call<string>("where", 0)).split("/").map(Number);
    expect(pool === "threads" ? pid === worker.process.pid && thread !== 0 : pid !== worker.process.pid).toBe(true);
    const talking = await project.client.sendTask<Record<string, unknown>>("talk", ["hello"], {}, { headers: { tenant: "a" } });
    const said = await talking.get({ timeout: 20 });
    expect(said).toMatchObject({ children: 1, retries: 0, headers: { tenant: "a" } });
    expect(String(said["hostname"])).toMatch(/^celery@/);
    expect(worker.log).toContain("warn said hello");
    const backend = await project.client.backend();
    const [document] = (await backend?.fetch([talking.id])) ?? [];
    expect(String(document)).toContain(String(said["child"])); // recorded as a child of the task
    expect(await worker.stop()).toBe(0);
    expect(project.notes().filter((note) => note.startsWith("start"))).toHaveLength(2);
    expect(project.notes().filter((note) => note.startsWith("stop"))).toHaveLength(2);
  });

  test("errors come with their type, text and stack, and options of retries see their class", async () => {
    await using project = await openProject();
    const worker = await project.start(pool);
    const failed = await project.client.sendTask("boom");
    const error = await failed.get({ timeout: 20 }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RemoteTaskError);
    expect((error as RemoteTaskError).wire).toEqual({ type: "ValueError", module: "builtins", args: ["too far"] });
    expect(await failed.traceback()).toContain("app.mjs");
    expect(await project.call("flaky")).toBe(2);
    await expect(project.call("unclonable")).rejects.toThrow(/could not be cloned|cannot be written/);
    expect(await project.call("isBuffer", Buffer.from("abc"))).toBe(true);
    expect(await project.call("echo", { bytes: Buffer.from([0, 255]), big: 2n ** 70n })).toEqual({
      bytes: Buffer.from([0, 255]),
      big: 2n ** 70n,
    });
    const place = await project.call<string>("hooked");
    await project.noted(new RegExp(`^onSuccess ${place} ${place}$`)); // in the same child, with its own value
    await worker.stop();
  });

  test("a task that snoozes in a child runs again later and costs no attempt", async () => {
    await using project = await openProject();
    const worker = await project.start(pool);
    expect(await project.call("snoozes", 3)).toEqual([0, 4]);
    expect(project.notes().filter((note) => note.startsWith("snoozes 0 "))).toHaveLength(4);
    await worker.stop();
  });

  test("a policy with predicates and functions is weighed in the child, where errors have their class", async () => {
    await using project = await openProject();
    const worker = await project.start(pool);
    expect(await project.call("asWeighed", "once")).toBe(1);
    await expect(project.call("asWeighed", "busy")).rejects.toThrow("busy");
    await expect(project.call("asWeighed", "range")).rejects.toThrow("never again");
    const runs = (kind: string): number => project.notes().filter((note) => note.startsWith(`asWeighed ${kind} `)).length;
    expect([runs("once"), runs("busy"), runs("range")]).toEqual([2, 3, 1]);
    await worker.stop();
  });

  test("a task that never lets go is ended at its hard limit, and its slot is back within a second", async () => {
    await using project = await openProject();
    const worker = await project.start(pool, { concurrency: 1 });
    await project.call("add", 1, 1);
    const spinning = await project.client.sendTask("spin");
    await project.noted(/^spin/);
    const from = performance.now();
    const error = await spinning.get({ timeout: 20 }).catch((reason: unknown) => reason);
    const tookMs = performance.now() - from;
    expect(error).toBeInstanceOf(TimeLimitExceeded);
    expect(tookMs).toBeGreaterThan(1500);
    expect(tookMs).toBeLessThan(2500);
    expect(await project.call("add", 3, 4)).toBe(7);
    expect(performance.now() - from - tookMs).toBeLessThan(isSoak ? 1000 : 5000); // a busy machine is slow to start a child
    await worker.stop();
  });

  test("a soft limit can be caught, and the task succeeds", async () => {
    await using project = await openProject();
    const worker = await project.start(pool);
    expect(await project.call("soft")).toBe("SoftTimeLimitExceeded cleaned up");
    await worker.stop();
  });

  test("a child that blocks delays neither the lease nor the other tasks", async () => {
    await using project = await openProject({ leaseTime: 1 });
    const worker = await project.start(pool);
    const blocked = await project.client.sendTask<number>("block", [3000]);
    await project.noted(/^block/);
    const from = performance.now();
    for (let i = 0; i < 20; i++) expect(await project.call("add", i, 1)).toBe(i + 1);
    expect(performance.now() - from).toBeLessThan(2500);
    expect(await blocked.get({ timeout: 20 })).toBe(3000);
    expect(project.notes().filter((note) => note.startsWith("block"))).toHaveLength(1);
    expect(worker.log.filter((line) => /lease/.test(line))).toEqual([]);
    await worker.stop();
  });

  test("a task whose child dies runs again, counted as a loss; one that kills every child is dead-lettered, and others go on", async () => {
    await using project = await openProject({ maxDeliveries: 3 });
    const worker = await project.start(pool);
    expect(await project.call("dieOnce", "first")).toBe("alive");
    expect(project.notes().filter((note) => note === "first")).toHaveLength(2);
    const poison = await project.client.sendTask(pool === "threads" ? "exit" : "die");
    const others = Array.from({ length: 50 }, (_, i) => project.call<number>("add", i, i));
    expect(await Promise.all(others)).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i));
    const error = await poison.get({ timeout: 30 }).catch((reason: unknown) => reason);
    expect((error as Error).name).toBe("WorkerLostError");
    expect(project.notes().filter((note) => note === "exit" || note === "die")).toHaveLength(3);
    const broker = await project.client.broker();
    const dead = await eventually("the dead letter", async () => {
      const page = await broker.deadLetters?.page("celery", { limit: 5 });
      return page && page.entries.length > 0 && page.entries;
    });
    expect(dead).toMatchObject([{ id: poison.id, reason: "poison", losses: 3 }]);
    await worker.stop();
  });

  test("an error that is thrown outside of any task ends the child, and is told as the reason", async () => {
    await using project = await openProject({ maxDeliveries: 1 });
    const worker = await project.start(pool);
    await expect(project.call("stray")).rejects.toMatchObject({
      name: "WorkerLostError",
      message: expect.stringContaining("a stray error") as string,
    });
    await worker.stop();
  });

  test("children are replaced after so many tasks, and when they have grown too large", async () => {
    await using project = await openProject();
    const worker = await project.start(pool, { concurrency: 1 }, { workerMaxTasksPerChild: 2 });
    const places: string[] = [];
    for (let i = 0; i < 6; i++) places.push(await project.call<string>("where", 0));
    expect(new Set(places).size).toBe(3);
    await worker.stop();
    const bounded = await project.start(pool, { concurrency: 1 }, { workerMaxMemoryPerChild: 150 * 1024 });
    const first = await project.call<string>("grow", 1);
    expect(await project.call<string>("grow", 200)).toBe(first); // it ends what it runs
    expect(await project.call<string>("where", 0)).not.toBe(first);
    expect(bounded.log.some((line) => /more than 153600/.test(line))).toBe(true);
    await bounded.stop();
  });

  test("a pool grows and shrinks while it runs, and what runs is not disturbed", async () => {
    await using project = await openProject();
    const worker = await project.start(pool, { concurrency: 1 });
    const long = project.call<string>("where", 1500);
    await eventually("it runs", async () => (await worker.status()).running === 1);
    worker.resize(3);
    await worker.whenSlots(3);
    const places = await Promise.all([1, 2].map(() => project.call<string>("where", 300)));
    expect(new Set(places).size).toBe(2);
    worker.resize(1);
    expect(await long).toMatch(/\d/);
    await worker.whenSlots(1);
    expect(await project.call("add", 1, 1)).toBe(2);
    await worker.stop();
  });

  test("it scales between two numbers with the load", async () => {
    await using project = await openProject();
    const worker = await project.start(pool, { autoscale: { max: 3, min: 1 } });
    expect((await worker.status()).slots).toBe(1);
    const running = Array.from({ length: 6 }, () => project.call("where", 1200));
    await worker.whenSlots(3);
    await Promise.all(running);
    await worker.stop();
  });

  test("a task that is terminated is told, and its child killed when it does not heed that", async () => {
    await using project = await openProject();
    const worker = await project.start(pool, { concurrency: 1 });
    const heeding = await project.client.sendTask("reason");
    await eventually("it runs", async () => (await worker.status()).running === 1);
    worker.revoke(heeding.id);
    expect(await heeding.get({ timeout: 10 })).toBe("TaskRevokedError"); // it ended by itself, and with success
    const blocked = await project.client.sendTask("block", [60_000]);
    await project.noted(/^block/);
    worker.revoke(blocked.id);
    await expect(blocked.get({ timeout: 10 })).rejects.toBeInstanceOf(TaskRevokedError);
    expect(await blocked.state()).toBe("REVOKED");
    expect(await project.call("add", 1, 1)).toBe(2);
    await worker.stop();
  });

  test("a cold stop kills what does not heed its signal, and gives its message back", async () => {
    await using project = await openProject();
    const worker = await project.start(pool, { concurrency: 1 });
    const blocked = await project.client.sendTask("block", [60_000]);
    await project.noted(/^block/);
    void worker.stop("cold");
    const from = performance.now();
    await eventually("the worker is gone", () => worker.process.exitCode !== null);
    expect(performance.now() - from).toBeLessThan(6000);
    expect((await (await project.client.broker()).depth(["celery"]))[0]?.ready).toBe(1); // back in its queue, for another worker
    expect(await blocked.state()).toBe("PENDING");
  });

  test("at the end of the grace the signal of a task aborts with the reason", async () => {
    await using project = await openProject();
    const worker = await project.start(pool);
    await project.client.sendTask("reason");
    await eventually("it runs", async () => (await worker.status()).running === 1);
    await worker.stop("cold");
    expect(project.notes()).toContain("WorkerStoppedError");
  });

  test("a stop leaves no child behind, and neither does the death of the worker, also while a child is blocked", async () => {
    await using project = await openProject();
    const stopped = await project.start(pool);
    await project.call("add", 1, 1);
    const left = stopped.children();
    expect(left).toHaveLength(pool === "processes" ? 2 : 0);
    await stopped.stop();
    expect(left.filter(isAlive)).toEqual([]);
    const killed = await project.start(pool);
    await project.client.sendTask("block", [60_000]);
    await project.noted(/^block/);
    const orphans = killed.children();
    await killed.kill();
    await eventually("the children of the killed worker are gone", () => orphans.every((pid) => !isAlive(pid)), 5000);
  });

  test.skipIf(cpus().length < 2)("tasks that compute use more than one core", async () => {
    await using project = await openProject();
    const worker = await project.start(pool);
    const from = performance.now();
    await Promise.all([1, 2].map(() => project.call("block", 1500)));
    expect(performance.now() - from).toBeLessThan(2900); // one after the other would take 3000
    await worker.stop();
  });

  test("a module that fails while it is loaded fails the start, with its path", async () => {
    await using project = await openProject();
    project.write("app.mjs", `${project.source}\nif (globalThis[Symbol.for("lovage.poolChild")]) throw new Error("not in a child");\n`);
    await expect(project.start(pool)).rejects.toThrow(/app\.mjs.*not in a child/s);
  });

  test("a worker in the app's own module is refused in its children, and not started over and over", async () => {
    await using project = await openProject();
    project.write(
      "app.mjs",
      `${project.source}\nimport { Worker } from "lovage/worker";\nif (globalThis[Symbol.for("lovage.poolChild")]) await new Worker(app).start();\n`,
    );
    await expect(project.start(pool)).rejects.toThrow(/module of their own/);
  });
});

test("10,000 small tasks through processes lose none", async () => {
  await using project = await openProject();
  const worker = await project.start("processes");
  const results = await project.client.publishMany(Array.from({ length: 10_000 }, (_, i) => ({ name: "record", args: [i] })));
  expect(results).toHaveLength(10_000);
  await eventually("all have run", () => project.notes().filter((note) => note.startsWith("record")).length >= 10_000, 50_000);
  expect(new Set(project.notes().filter((note) => note.startsWith("record"))).size).toBe(10_000);
  await worker.stop();
});

test("a worker whose children do not start any more gives up, and says why", async () => {
  await using project = await openProject();
  const worker = await project.start("threads", { concurrency: 1 }, { workerMaxTasksPerChild: 1 });
  project.write("app.mjs", 'throw new Error("a broken deploy");\n');
  expect(await project.call("add", 1, 1)).toBe(2); // the last that its only thread runs
  await eventually("the worker gives up", () => worker.failure !== undefined, 20_000);
  expect(worker.failure).toMatch(/app\.mjs.*a broken deploy/s);
});

test("what waits for a full pool is left to other workers, and does not hold up the tasks of the others", async () => {
  await using project = await openProject();
  const workers = [await project.start("async", { concurrency: 50 })];
  expect(await project.call("inThread", 0)).toMatch(/^\d/); // its pool is up
  const first = await Promise.all(Array.from({ length: 40 }, () => project.client.sendTask<string>("inThread", [200])));
  await eventually("the worker has taken what it may", async () => (await workers[0]?.status())?.running === cpus().length);
  workers.push(await project.start("async", { concurrency: 50 }));
  const from = performance.now();
  expect(await project.call("add", 1, 2)).toBe(3);
  expect(performance.now() - from).toBeLessThan(1500);
  const places = await Promise.all(first.map((each) => each.get({ timeout: 30 })));
  expect(new Set(places.map((place) => place.split("/")[0])).size).toBe(2);
  for (const worker of workers) await worker.stop();
});

test("tasks that ask for a pool run there, beside those of the worker's own", async () => {
  await using project = await openProject();
  const worker = await project.start("async");
  expect((await worker.status()).slots).toBe(2);
  expect(await project.call("add", 1, 1)).toBe(2);
  expect(project.notes()).toHaveLength(1); // the worker's own thread; no child yet
  const [thread, pid] = await Promise.all([project.call<string>("inThread", 0), project.call<number>("inProcess")]);
  expect(thread).toMatch(new RegExp(`^${worker.process.pid}/[1-9]`));
  expect(pid).not.toBe(worker.process.pid);
  expect(await project.call("where", 0)).toBe(`${worker.process.pid}/0`);
  await worker.whenSlots(2 + 2 * cpus().length);
  await worker.stop();
});
