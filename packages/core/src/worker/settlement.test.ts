import { expect, test } from "vitest";

import { type DeadLetterInput, readDeadLetterPolicy } from "../app/dead-letter-policy.ts";
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { Delivery, Settlement } from "../brokers/broker.ts";
import { formatInstant } from "../protocol/instant.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import { encodeTaskMessage, type OutgoingTask, readTaskMessage } from "../protocol/task-message.ts";
import { memoryApp } from "../testing/memory-app.ts";
import type { Outcome } from "./outcome.ts";
import type { EndedRun, SettlementRules } from "./ended-run.ts";
import { planSettlement } from "./settlement.ts";

const NOW = Date.UTC(2026, 0, 2);
const OPTIONS = memoryApp().task("shop.add", () => 0).options;

const rules: SettlementRules = {
  worker: "w@test",
  keepsResults: true,
  keepsDeadLetters: true,
  resultSerializer: "json",
  resultExtended: false,
  resultExpiresMs: 86_400_000,
  codec: { serializer: "json" },
  maxDeliveries: 3,
  deadLetterOf: () => readDeadLetterPolicy(undefined),
};

function run(options: Partial<ResolvedTaskOptions> = {}, isAcked = false, task: Partial<OutgoingTask> = {}): EndedRun {
  const message = encodeTaskMessage({ id: "t-1", task: "shop.add", args: [1, 2], kwargs: {}, ...task }, { serializer: "json", now: NOW });
  const info = { exchange: "", routingKey: "celery", redelivered: false };
  return {
    received: readTaskMessage(message, info, { accept: contentTypesFor(["json"]) }),
    delivery: { queue: "celery", losses: 0, loan: "1" } as unknown as Delivery,
    isAcked,
    options: { ...OPTIONS, ...options },
    children: [],
  };
}

function plan(outcome: Outcome, of: EndedRun): { end: string; states: string[]; published: number } {
  const settlement = planSettlement(outcome, of, rules, NOW);
  const end = settlement.delivery === undefined ? "none" : endText(settlement.end);
  return { end, states: (settlement.results ?? []).map((result) => result.state), published: settlement.publish?.length ?? 0 };
}

function endText(end: Settlement["end"]): string {
  return end.kind === "requeue" ? `requeue to the ${end.to}` : end.kind;
}

const failed: Outcome = { kind: "failed", error: new Error("no") };
const timedOut: Outcome = { kind: "timedOut", limitMs: 1000 };
const childLost: Outcome = { kind: "childLost", error: new Error("SIGSEGV") };
const retry: Outcome = { kind: "retry", plan: { delayMs: 5000, etaAt: undefined, retries: 1, error: new Error("no"), changes: {} } };

// What Celery does with a late ack (celery-protocol.md 1.6); where it drops a message, ours is kept with the dead letters.
test.each<[string, Outcome, Partial<ResolvedTaskOptions>, string, string[]]>([
  ["success", { kind: "succeeded", value: 3 }, {}, "ack", ["SUCCESS"]],
  ["failure", failed, {}, "ack", ["FAILURE"]],
  ["failure, acksOnFailure false", failed, { acksOnFailure: false }, "deadLetter", ["FAILURE"]],
  ["hard limit", timedOut, {}, "ack", ["FAILURE"]],
  ["hard limit, acksOnTimeout false", timedOut, { acksOnTimeout: false }, "requeue to the back", []],
  ["child lost", childLost, {}, "requeue to the front", []],
  ["child lost, rejectOnWorkerLost false", childLost, { rejectOnWorkerLost: false }, "ack", ["FAILURE"]],
  ["retry", retry, {}, "ack", ["RETRY"]],
  ["ignore", { kind: "ignored" }, {}, "ack", []],
  ["reject", { kind: "rejected", requeue: false, reason: "no" }, {}, "deadLetter", ["FAILURE"]],
  ["reject and requeue", { kind: "rejected", requeue: true, reason: "no" }, {}, "requeue to the back", []],
  ["revoked", { kind: "revoked", how: "revoked" }, {}, "ack", ["REVOKED"]],
  ["worker stops", { kind: "interrupted" }, {}, "requeue to the front", []],
  ["lease lost", { kind: "leaseLost" }, {}, "requeue to the front", []],
])("late ack, %s", (_, outcome, options, end, states) => {
  expect(plan(outcome, run(options))).toEqual({ end, states, published: outcome.kind === "retry" ? 1 : 0 });
});

test("a message whose child died counts one loss, and is dead-lettered at as many as are allowed", () => {
  const after = (losses: number): EndedRun => ({ ...run(), delivery: { queue: "celery", losses, loan: "1" } as unknown as Delivery });
  expect(planSettlement(childLost, after(1), rules, NOW)).toMatchObject({ end: { kind: "requeue", to: "front", isLoss: true } });
  const poison = planSettlement(childLost, after(2), rules, NOW);
  expect(poison).toMatchObject({ end: { kind: "deadLetter", record: { reason: "poison", losses: 3, task: "shop.add" } } });
  expect(poison.results?.map(({ state }) => state)).toEqual(["FAILURE"]);
  expect(planSettlement({ kind: "interrupted" }, after(2), rules, NOW)).not.toMatchObject({ end: { isLoss: true } });
});

// After an early ack there is nothing left to give back: every end is recorded, whatever the options say.
test.each<[string, Outcome, string[]]>([
  ["success", { kind: "succeeded", value: 3 }, ["SUCCESS"]],
  ["failure", failed, ["FAILURE"]],
  ["hard limit", timedOut, ["FAILURE"]],
  ["child lost", childLost, ["FAILURE"]],
  ["retry", retry, ["RETRY"]],
  ["ignore", { kind: "ignored" }, []],
  ["reject and requeue", { kind: "rejected", requeue: true, reason: "no" }, ["FAILURE"]],
  ["worker stops", { kind: "interrupted" }, ["FAILURE"]],
])("early ack, %s", (_, outcome, states) => {
  const options = { acksOnFailure: false, acksOnTimeout: false };
  expect(plan(outcome, run(options, true))).toEqual({ end: "none", states, published: outcome.kind === "retry" ? 1 : 0 });
});

test("where results are ignored only errors may be stored, and only if asked for", () => {
  const ignores = { ignoreResult: true };
  const outcomes: Outcome[] = [{ kind: "succeeded", value: 1 }, retry, failed, timedOut, { kind: "revoked", how: "expired" }];
  const statesOf = (options: Partial<ResolvedTaskOptions>): string[][] => outcomes.map((outcome) => plan(outcome, run(options)).states);
  expect(statesOf(ignores)).toEqual([[], [], [], [], []]);
  expect(statesOf({ ...ignores, storeErrorsEvenIfIgnored: true })).toEqual([[], [], ["FAILURE"], ["FAILURE"], ["REVOKED"]]);
  // The message's word counts before the task's.
  expect(plan(failed, run({}, false, { ignoreResult: true })).states).toEqual([]);
  expect(plan(failed, run(ignores, false, { ignoreResult: false })).states).toEqual(["FAILURE"]);
});

test("a retry goes where the message came from, with its own time, and says who asked for it", () => {
  const ended = run({}, false, { headers: { tenant: "a", lovage_unknown_since: 5 }, priority: 3, expires: formatInstant(NOW + 60_000) });
  const [outgoing] = planSettlement(retry, ended, rules, NOW).publish ?? [];
  expect(outgoing).toMatchObject({ exchange: "", routingKey: "celery", message: { properties: { priority: 3 } } });
  expect(outgoing?.message.headers).toMatchObject({
    id: "t-1",
    retries: 1,
    eta: "2026-01-02T00:00:05.000000+00:00",
    expires: "2026-01-02T00:01:00.000000+00:00",
    parent_id: "t-1",
    tenant: "a",
    lovage_unknown_since: null, // it was known here: the time in which it was not is over
  });
  expect(outgoing?.message.body).toBe(ended.received.message.body); // unchanged arguments are not encoded again
});

test("a retry can change where it goes and what it carries", () => {
  const changes = { args: [9], queue: "slow", priority: 7, expiresAt: null, timeLimitMs: 4000, headers: { own: 1 } };
  const outcome: Outcome = { kind: "retry", plan: { delayMs: 0, etaAt: undefined, retries: 2, error: undefined, changes } };
  const ended = run({}, false, { expires: formatInstant(NOW + 60_000), embed: { callbacks: [{ task: "next" } as never] } });
  const [outgoing] = planSettlement(outcome, ended, rules, NOW).publish ?? [];
  expect(outgoing).toMatchObject({ exchange: "", routingKey: "slow", message: { properties: { priority: 7 } } });
  expect(outgoing?.message.headers).toMatchObject({ retries: 2, eta: null, expires: null, timelimit: [4, null], own: 1 });
  expect(JSON.parse(Buffer.from(outgoing?.message.body ?? []).toString())).toMatchObject([[9], {}, { callbacks: [{ task: "next" }] }]);
});

test("a retry whose cause is not known stores no error", () => {
  const outcome: Outcome = { kind: "retry", plan: { delayMs: 0, etaAt: undefined, retries: 1, error: undefined, changes: {} } };
  const [result] = planSettlement(outcome, run(), rules, NOW).results ?? [];
  expect(JSON.parse(String(result?.document))).toMatchObject({ status: "RETRY", result: null, traceback: null });
});

test("without a result backend nothing is stored; without dead letters a refused message is acknowledged", () => {
  const poor = { ...rules, keepsResults: false, keepsDeadLetters: false };
  const settlement = planSettlement({ kind: "rejected", requeue: false, reason: "no" }, run(), poor, NOW);
  expect(settlement).toMatchObject({ end: { kind: "ack" }, results: [] });
});

test("a dead letter's record is one line and holds no arguments", () => {
  const reason = new Error("cannot\nhandle [1, 2]");
  const settlement = planSettlement({ kind: "rejected", requeue: false, reason }, run(), rules, NOW) as Settlement;
  expect(settlement.end).toEqual({
    kind: "deadLetter",
    record: {
      id: "t-1",
      task: "shop.add",
      reason: "rejected",
      error: "Error: cannot",
      stack: expect.stringMatching(/^ +at [^\n]*settlement\.test\.ts/),
      worker: "w@test",
      at: NOW,
      losses: 0,
      retries: 0,
    },
  });
  expect(JSON.stringify(settlement.end)).not.toContain("[1, 2]");
});

// --- dead letters --------------------------------------------------------------------------------------------------

const expired: Outcome = { kind: "revoked", how: "expired" };
const rejected: Outcome = { kind: "rejected", requeue: false, reason: "no" };

/** The settlement of a run under a dead-letter policy. */
function planFor(deadLetter: DeadLetterInput | undefined, outcome: Outcome, task: Partial<OutgoingTask> = {}, isAcked = false) {
  return planSettlement(outcome, run({ deadLetter: readDeadLetterPolicy(deadLetter) }, isAcked, task), rules, NOW);
}

test.each<[string, DeadLetterInput | undefined, Outcome, number, string]>([
  ["nothing said: failures are acknowledged", undefined, failed, 0, "ack"],
  ["nothing said: what it rejected is kept", undefined, rejected, 0, "rejected"],
  ["true: failures are kept", true, failed, 0, "failed"],
  ["true: and those after the last retry say so", true, failed, 3, "retriesExhausted"],
  ["true: a hard limit that is acknowledged is a failure", true, timedOut, 0, "failed"],
  ["true: what expired is not", true, expired, 0, "ack"],
  ["true: a retry is none", true, retry, 0, "ack"],
  ["expired, when asked for", { on: ["expired"] }, expired, 0, "expired"],
  ["retries only: another failure is not kept", { on: ["retriesExhausted"] }, failed, 0, "ack"],
  ["false: not even what it rejected", false, rejected, 0, "ack"],
])("dead letters, %s", (_, policy, outcome, retries, end) => {
  const settlement = planFor(policy, outcome, { retries });
  if (settlement.delivery === undefined) throw new Error("it has no loan");
  expect(settlement.end.kind === "deadLetter" ? settlement.end.record.reason : settlement.end.kind).toBe(end);
});

test("poison is kept whatever the policy says", () => {
  const suspect = { ...run({ deadLetter: readDeadLetterPolicy(false) }), delivery: { queue: "celery", losses: 2 } as unknown as Delivery };
  expect(planSettlement(childLost, suspect, rules, NOW)).toMatchObject({ end: { record: { reason: "poison", losses: 3 } } });
});

test("the result of a dead letter is FAILURE and says where the message is kept", () => {
  const [result] = planFor(true, failed).results ?? [];
  expect(result?.state).toBe("FAILURE");
  expect(JSON.parse(String(result?.document))).toMatchObject({
    status: "FAILURE",
    lovage_dead_letter: { queue: "celery", reason: "failed" },
  });
  const [other] = planFor(undefined, failed).results ?? [];
  expect(JSON.parse(String(other?.document))).not.toHaveProperty("lovage_dead_letter");
});

test("a dead-letter queue gets the message with its bytes and where it comes from", () => {
  const policy = { queue: "graveyard" };
  const [told] = planFor(policy, failed, { retries: 3 }).publish ?? [];
  expect(told).toMatchObject({ exchange: "", routingKey: "graveyard" });
  const { message } = run({}, false, { retries: 3 }).received;
  expect(Buffer.from(told?.message.body ?? "").equals(Buffer.from(message.body))).toBe(true);
  expect(told?.message.headers).toMatchObject({
    id: "t-1",
    task: "shop.add",
    lovage_dead: { id: "t-1", task: "shop.add", queue: "celery", reason: "retriesExhausted", error: "Error: no", retries: 3, losses: 0 },
  });
});

test("a handler task gets the arguments, then the error, and knows its parent", () => {
  const [told] = planFor({ queue: "graveyard", task: "shop.bury" }, failed).publish ?? [];
  if (told === undefined) throw new Error("nothing was published");
  const call = readTaskMessage(told.message, { exchange: "", routingKey: "", redelivered: false }, { accept: contentTypesFor(["json"]) });
  expect(call.task).toBe("shop.bury");
  expect(call.id).not.toBe("t-1");
  expect(call.parentId).toBe("t-1");
  expect(call.body().args).toEqual([1, 2, "Error: no"]);
  expect(call.headers).toMatchObject({ lovage_dead: { id: "t-1", reason: "failed" } });
});

test("what a handler of dead letters fails at is not published again, or it would go round for ever", () => {
  const again = planFor({ queue: "graveyard" }, failed, { headers: { lovage_dead: { id: "t-0" } } });
  expect(again.publish).toEqual([]);
  expect(again).toMatchObject({ end: { kind: "deadLetter" } });
});

test("with an early ack there is no message left to keep, and the queue is told all the same", () => {
  const settlement = planFor({ queue: "graveyard" }, failed, {}, true);
  expect(settlement.delivery).toBeUndefined();
  expect(settlement.publish).toHaveLength(1);
});

test.each<[unknown, RegExp]>([
  [{ queue: 3 }, /`queue` is not a name/],
  [{ task: "x" }, /needs the `queue`/],
  [{ on: ["late"] }, /"late" in `on` is not a reason/],
  [{ que: "x" }, /"que" is not one of/],
  [7, /takes true, false/],
])("a policy of %j is refused", (deadLetter, why) => {
  expect(() => memoryApp().task({ name: "shop.x", deadLetter: deadLetter as DeadLetterInput, run: () => 0 }).options).toThrow(why);
});

test.each<[DeadLetterInput | undefined, string]>([
  [undefined, "deadLetter"],
  [false, "ack"],
])("a queue's policy counts for tasks that have none of their own (%j)", (own, end) => {
  const ended = run(own === undefined ? {} : { deadLetter: readDeadLetterPolicy(own) });
  const paid: SettlementRules = {
    ...rules,
    deadLetterOf: (queue) => readDeadLetterPolicy(queue === "payments" ? { queue: "graveyard" } : undefined),
  };
  const settlement = planSettlement(failed, { ...ended, delivery: { ...ended.delivery, queue: "payments" } }, paid, NOW);
  expect(settlement).toMatchObject({ end: { kind: end }, publish: end === "ack" ? [] : [{ routingKey: "graveyard" }] });
  expect(planSettlement(failed, ended, paid, NOW)).toMatchObject({ end: { kind: "ack" } }); // another queue's
});

test("policies of queues are read from the settings, and one that is not accepted names its queue", () => {
  const app = memoryApp({ queueDeadLetter: { payments: { queue: "graveyard" }, mail: false } });
  expect(app.settings.queueDeadLetter?.get("payments")).toMatchObject({ queue: "graveyard" });
  expect(app.settings.queueDeadLetter?.get("other")).toBeUndefined();
  expect(() => memoryApp({ queueDeadLetter: { mail: { task: "x" } } }).settings).toThrow(/"mail".*needs the `queue`/);
});
