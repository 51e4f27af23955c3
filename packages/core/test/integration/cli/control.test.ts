/** Remote control by hand, on the embedded broker: several processes and one file. */
import { expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { Project, type Finished } from "./project.ts";

const send = async (project: Project, task: string, args: string): Promise<string> =>
  (await project.run(["-q", "-A", "src/app", "call", task, "-a", args])).stdout.trim();

const answerOf = ({ stdout }: Finished): unknown => JSON.parse(stdout);

test("workers are asked, made quiet, told to revoke, and shut down for good", { timeout: 120_000 }, async () => {
  await using project = new Project();
  const lovage = async (...words: string[]): Promise<Finished> => await project.run(["-A", "src/app", ...words]);
  const worker = await project.worker("-n", "one@shop", "-P", "threads", "-c", "2");

  const pong = await lovage("inspect", "ping");
  expect(pong).toMatchObject({ code: 0, stdout: "->  one@shop: OK\n        pong\n", stderr: expect.stringContaining("1 worker answered") });
  expect(answerOf(await lovage("inspect", "ping", "-j", "-d", "one@shop", "-t", "10"))).toEqual({ "one@shop": { ok: "pong" } });

  const [spins, naps] = [await send(project, "shop.spin", "[]"), await send(project, "shop.nap", "[60]")];
  await worker.says(new RegExp(`Task shop\\.nap\\[${naps}\\] received`)); // every slot is busy, one of them with for (;;)
  const ended = await lovage("control", "terminate", "SIGKILL", spins, naps, "-j", "-d", "one@shop", "-t", "10");
  expect(ended).toMatchObject({ code: 0 });
  expect(answerOf(ended)).toEqual({ "one@shop": { ok: `terminate: ${spins}, ${naps}` } });
  for (const id of [spins, naps]) {
    const result = await lovage("result", id, "-j");
    expect(result).toMatchObject({ code: 1 });
    expect(`${result.stdout}${result.stderr}`).toContain("REVOKED");
  }

  expect(await lovage("control", "quiet", "-d", "one@shop", "-t", "10")).toMatchObject({ code: 0 });
  const later = await send(project, "shop.add", "[1, 2]");
  const revoked = await send(project, "shop.nap", "[60]");
  expect(answerOf(await lovage("control", "revoke", revoked, "-j", "-d", "one@shop", "-t", "10"))).toEqual({
    "one@shop": { ok: `tasks {'${revoked}'} flagged as revoked` },
  });
  expect(answerOf(await lovage("queues", "-j"))).toMatchObject([{ ready: 2 }]);
  expect(await lovage("control", "resume", "-d", "one@shop", "-t", "10")).toMatchObject({ code: 0 });
  await worker.says(new RegExp(`Task shop\\.add\\[${later}\\] succeeded`));
  await eventually("the revoked one is discarded", async () =>
    JSON.stringify(answerOf(await lovage("queues", "-j"))).includes('"ready":0'),
  );

  expect(await lovage("control", "shutdown", "--pattern", "one@*")).toMatchObject({ code: 0 });
  expect(await worker.finished).toMatchObject({ code: 0, stderr: expect.stringContaining("not started again") });
  const nobody = await lovage("inspect", "ping", "-t", "200ms");
  expect(nobody).toMatchObject({ code: 69, stdout: "", stderr: expect.stringContaining("no worker has answered") });
});

test("what is revoked while no worker is there does not run when one comes", async () => {
  await using project = new Project();
  const revoked = await send(project, "shop.nap", "[60]");
  const added = await send(project, "shop.add", "[1, 2]");
  expect(await project.run(["-A", "src/app", "control", "revoke", revoked, "-t", "100ms"])).toMatchObject({
    code: 0,
    stderr: expect.stringContaining("the broker remembers it"),
  });
  const result = await project.run(["-A", "src/app", "result", revoked, "-j"]);
  expect(`${result.stdout}${result.stderr}`).toContain("REVOKED");
  const worker = await project.worker("-c", "1");
  await worker.says(new RegExp(`Task shop\\.add\\[${added}\\] succeeded`));
  expect(worker.stderr).toContain(`[${revoked}]`);
  expect(worker.stderr).not.toContain(`Task shop.nap[${revoked}] received`);
});

test("words that make no sense are refused before anything is connected to", async () => {
  await using project = new Project();
  for (const [words, said] of [
    [["control", "revoke"], "takes ids of tasks"],
    [["control", "terminate", "SIGKILL"], "takes a signal and ids"],
    [["control", "quiet", "w1"], "takes no further words"],
    [["control", "revoke_by_stamped_headers", "acme"], "is no stamp"],
    [["control", "explode"], "Allowed choices"],
    [["inspect", "explode"], "Allowed choices"],
  ] as const) {
    expect(await project.run(["-b", "redis://127.0.0.1:1/0", ...words])).toMatchObject({ code: 2, stderr: expect.stringContaining(said) });
  }
});
