import { expect, test } from "vitest";
import { encodePlan, processName, takePlan, type WorkerPlan } from "./worker-plan.ts";

test("several processes under one name are told apart", () => {
  expect(processName(undefined, 0, 1)).toBeUndefined();
  expect(processName("mail@%h", 0, 1)).toBe("mail@%h");
  expect(processName("mail%i@%h", 0, 1)).toBe("mail0@%h");
  expect([0, 1].map((index) => processName(undefined, index, 2))).toEqual(["celery-1@%h", "celery-2@%h"]);
  expect([0, 1].map((index) => processName("mail@%h", index, 2))).toEqual(["mail-1@%h", "mail-2@%h"]);
  expect([0, 1].map((index) => processName("mail%I@%h", index, 2))).toEqual(["mail-1@%h", "mail-2@%h"]);
});

test("a plan is taken out of the environment, so that nothing else inherits it", () => {
  const plan = { globals: { settings: { broker_url: "redis://:secret@h" } }, purge: true } as unknown as WorkerPlan;
  const env: Record<string, string | undefined> = { PATH: "/bin", LOVAGE_WORKER_PLAN: encodePlan(plan), LOVAGE_WORKER_INDEX: "1" };
  expect(takePlan(env)).toEqual({ plan, index: 1 });
  expect(env).toEqual({ PATH: "/bin" });
  expect(takePlan(env)).toBeUndefined();
});
