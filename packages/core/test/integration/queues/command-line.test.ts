/** Queues as an operator sees and steers them: `lovage queues`, weights, capsules, and what health tells of them. */
import { expect, test } from "vitest";

import { eventually } from "../../support/eventually.ts";
import { metric, probe } from "../../support/health-probe.ts";
import { freePort, RedisServer } from "../../support/redis-server.ts";
import { Project } from "../cli/project.ts";

interface Row {
  readonly queue: string;
  readonly ready: number;
  readonly paused: { readonly by: string; readonly reason: string; readonly since: string; readonly until: string | null } | null;
}

test("pause, list and resume, and a worker with weights and a capsule that heeds them and tells so", async () => {
  await using redis = await RedisServer.start();
  await using project = new Project();
  const common = ["-b", redis.url, "--result-backend", redis.url, "-A", "src/app.ts"];
  const lovage = async (...argv: string[]) => await project.run([...common, ...argv]);
  const rows = async (): Promise<Row[]> => JSON.parse((await lovage("queues", "list", "-Q", "mail,bulk,pdf", "--json")).stdout) as Row[];

  const port = await freePort();
  const worker = project.start([
    ...[...common, "worker", "-Q", "mail:3,bulk:1", "-c", "4", "--capsule", "pdf=pdf@2", "--health-port", String(port)],
  ]);
  await worker.says(/ ready\./);
  expect(worker.stdout).toMatch(/\[queues\] capsule default, concurrency 4, by weight\n +mail .* weight=3\n +bulk .* weight=1\n/);
  expect(worker.stdout).toMatch(/\[queues\] capsule pdf, concurrency 2\n +pdf /);

  const paused = await lovage("queues", "pause", "mail", "--reason", "the provider is down", "--by", "ann", "--for", "2h");
  expect(paused).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      /^mail is paused by ann since .*, until .* \(the provider is down\): no Lovage worker takes from it\. Python/,
    ),
    stderr: expect.stringContaining("the app declares no queue mail"),
  });
  await worker.says(/the queue mail is paused by ann: the provider is down/);
  for (const queue of ["mail", "bulk", "pdf"]) await lovage("call", "shop.add", "-a", "[1, 2]", "--queue", queue);
  await eventually("the others run", async () => {
    const all = await rows();
    return all.every(({ queue, ready }) => ready === (queue === "mail" ? 1 : 0));
  });
  expect((await rows())[0]?.paused).toMatchObject({ by: "ann", reason: "the provider is down", until: expect.stringMatching(/^20/) });
  expect((await lovage("queues")).stdout).toMatch(/^mail +1 .*by ann since .* \(the provider is down\)$/m);

  const { body = "" } = (await probe(port, "/readyz")) ?? {};
  expect(JSON.parse(body)).toMatchObject({
    ok: true,
    paused: [{ queue: "mail", by: "ann", reason: "the provider is down" }],
    capsules: [
      { name: "default", consuming: true, slots: 4 },
      { name: "pdf", consuming: true, slots: 2 },
    ],
  });
  const page = (await probe(port, "/metrics"))?.body ?? "";
  expect(metric(page, 'lovage_queue_paused{queue="mail"}')).toBe(1);
  expect(metric(page, 'lovage_queue_paused{queue="bulk"}')).toBe(0);
  expect(metric(page, 'lovage_capsule_slots{capsule="pdf"}')).toBe(2);
  expect(metric(page, 'lovage_capsule_consuming{capsule="default"}')).toBe(1);
  expect(metric(page, "lovage_worker_slots")).toBe(6);

  expect((await lovage("queues", "resume", "mail", "bulk")).stdout).toBe("mail goes on\nbulk was not paused\n");
  await worker.says(/the queue mail goes on/);
  await eventually("its message runs", async () => (await rows()).every(({ ready, paused: still }) => ready === 0 && still === null));
  worker.signal("SIGTERM");
  expect((await worker.finished).code).toBe(0);
}, 120_000);

test("what makes no sense is refused, and says what does", async () => {
  await using project = new Project();
  const refused = async (...argv: string[]) => await project.run(["-A", "src/app.ts", ...argv]);
  expect(await refused("queues", "pause")).toMatchObject({ code: 2, stderr: expect.stringContaining("needs the names of queues") });
  expect(await refused("queues", "pause", "q", "--for", "1h", "--until", "2099-01-01")).toMatchObject({ code: 2 });
  expect(await refused("queues", "list", "q")).toMatchObject({ code: 2, stderr: expect.stringContaining("-Q q") });
  expect(await refused("queues", "resume", "q", "--reason", "x")).toMatchObject({ code: 2 });
  expect(await refused("queues", "stop")).toMatchObject({ code: 2 });
  expect(await refused("worker", "--capsule", "pdf")).toMatchObject({ code: 2, stderr: expect.stringContaining("pdf=pdf,thumbs@2") });
  expect(await refused("call", "shop.add", "--priority", "10")).toMatchObject({ code: 2, stderr: expect.stringContaining("0 to 9") });
  const twice = await refused("worker", "-Q", "pdf", "--capsule", "a=pdf");
  expect(twice.code).not.toBe(0);
  expect(twice.stderr).toContain("the queue pdf is in two capsules of the worker, a and default");
}, 120_000);
