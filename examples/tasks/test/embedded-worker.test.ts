import { expect, test } from "vitest";

process.env.CELERY_BROKER_URL = "memory://embedded-example";
process.env.CELERY_RESULT_BACKEND = "memory://embedded-example";
const { charge } = await import("../tasks.ts");

test("a worker of one's own runs tasks, is quiet, resumes, and ends when it is told to", async () => {
  const ended = import("../embedded-worker.ts");
  expect(await (await charge.delay("A-1")).get({ timeout: "10s" })).toBe("paid A-1");
  process.emit("SIGTSTP", "SIGTSTP");
  process.emit("SIGCONT", "SIGCONT");
  expect(await (await charge.delay("A-2")).get({ timeout: "10s" })).toBe("paid A-2");
  process.emit("SIGTERM", "SIGTERM");
  await expect(ended).resolves.toBeDefined();
});
