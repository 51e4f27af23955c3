import { expect, test } from "vitest";

import { groupText } from "../app/aggregate-task.ts";
import type { Aggregates } from "../brokers/aggregates.ts";
import type { Outgoing } from "../brokers/broker.ts";
import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { LoanCredit } from "./credit.ts";
import { Folding } from "./folding.ts";
import type { Request } from "./request.ts";

const RULES = { size: 10, waitMs: 1000, keyOf: () => "" };

function stage(groups: Map<string, string[]>, failures = 0) {
  const clock = new FakeClock();
  const published: Outgoing[] = [];
  const lost: Request[] = [];
  let looks = 0;
  let left = failures;
  const aggregates: Aggregates = {
    fold: async (folds) => folds.map(() => "lost"),
    due: async (_now, limit) => {
      looks += 1;
      if (left-- > 0) throw new Error("the broker is away");
      return { groups: [...groups.keys()].slice(0, limit), nextDueAt: undefined };
    },
    first: async (group, limit) => groups.get(group)?.slice(0, limit) ?? [],
    publish: async (group, taken, outgoing) => {
      const rest = groups.get(group)?.slice(taken.length) ?? [];
      if (rest.length === 0) groups.delete(group);
      else groups.set(group, rest);
      published.push(outgoing);
      return true;
    },
  };
  const folding = new Folding({
    aggregates,
    clock,
    random: () => 0.5,
    logger: silentLogger,
    credit: new LoanCredit({ busy: 1, held: 1 }),
    codec: { serializer: "json" },
    brokerNow: () => clock.now(),
    rulesOf: (task) => (task === "ours" ? RULES : undefined),
    folded: () => undefined,
    lost: (request) => lost.push(request),
  });
  return { clock, published, lost, folding, looks: () => looks };
}

const ofTask = (task: string, key: string): string => groupText({ queue: "q", task, key });

test("groups of a service whose workers are away do not hide ours, and are not looked at all the time", async () => {
  const groups = new Map(Array.from({ length: 900 }, (_, i): [string, string[]] => [ofTask("theirs", String(i)), ["{}"]]));
  groups.set(ofTask("ours", "a"), ["{}"]);
  const { clock, published, folding, looks } = stage(groups);
  folding.begin();
  await clock.advance(4000);
  expect(published.map(({ routingKey }) => routingKey)).toEqual(["q"]);
  const before = looks();
  await clock.advance(20_000);
  expect(looks() - before).toBeLessThan(60);
  await folding.end();
});

test("a group is published in messages of at most so many calls, and an outage is outlived", async () => {
  const groups = new Map([[ofTask("ours", "a"), Array.from({ length: 25 }, () => "{}")]]);
  const { clock, published, folding } = stage(groups, 3);
  folding.begin();
  await clock.advance(20_000);
  expect(published.map(({ message }) => message.headers["lovage_aggregate"])).toEqual([10, 10, 5]);
  await folding.end();
});

test("a group of very large calls is cut by bytes, and one always fits", async () => {
  const groups = new Map([[ofTask("ours", "a"), [3, 3, 9, 1].map((mib) => "x".repeat(mib * 1024 * 1024))]]);
  const { clock, published, folding } = stage(groups);
  folding.begin();
  await clock.advance(10_000);
  expect(published.map(({ message }) => message.headers["lovage_aggregate"])).toEqual([1, 1, 1, 1]);
  await folding.end();
});

test("a call that is another worker's by now is told of, so that nothing stays held for it here", async () => {
  const { lost, folding } = stage(new Map());
  const request = { received: { task: "ours", body: () => ({ args: [] }) }, delivery: { queue: "q" } } as unknown as Request;
  folding.add(request, RULES);
  await folding.end();
  expect(lost).toEqual([request]);
});
