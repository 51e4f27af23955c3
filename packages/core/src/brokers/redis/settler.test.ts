import { expect, test } from "vitest";

import { EnvelopeReader } from "../../protocol/envelope-reader.ts";
import { silentLogger } from "../../shared/log.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { RedisContext } from "./context.ts";
import { RedisDelivery } from "./delivery.ts";
import { Router } from "./routing.ts";
import type { WorkerSession } from "./session.ts";
import { Settler } from "./settler.ts";

/** Settles what was lent as 1 and 2, through a server that gives these answers; `sent` is what settle.lua was told of each sending. */
function stand(...answers: unknown[]) {
  const sent: { readonly isRepetition: boolean; readonly loans: unknown }[] = [];
  const connection = {
    script: async (_script: unknown, _keys: unknown, args: readonly unknown[]) => {
      sent.push({ isRepetition: args[1] === "1", loans: args[8] });
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
  } as unknown as RedisConnection;
  const outstanding = new Set<RedisDelivery>();
  const session = {
    worker: "one",
    loansKey: "lovage:loans:one",
    epoch: "a|a",
    hasClaims: false,
    isFair: false,
    isOutstanding: (delivery: RedisDelivery) => outstanding.has(delivery),
    forget: (delivery: RedisDelivery) => outstanding.delete(delivery),
    connection: async () => connection,
  } as unknown as WorkerSession;
  const context = {
    location: "redis://test",
    db: 0,
    shard: { prefix: "", separator: ":" },
    options: { prioritySteps: [0] },
    replicas: undefined,
    commands: { ramp: undefined, current: connection },
    clock: new FakeClock(),
    random: () => 0,
    logger: silentLogger,
    deadLetterCaps: { max: 1, maxBytes: Infinity, maxAgeMs: Infinity },
  } as unknown as RedisContext;
  const settlements = [1, 2].map((number) => {
    const delivery = new RedisDelivery({
      loan: `x.${number}\nq`,
      number,
      source: { queue: "q", list: "q" },
      raw: Buffer.from("{}"),
      reader: new EnvelopeReader(),
    });
    outstanding.add(delivery);
    return { delivery, end: { kind: "ack" } } as const;
  });
  const settler = new Settler(context, new Router(context));
  return { sent, settle: async () => await settler.settle(session, settlements, undefined) };
}

const GONE = new RedisGoneError("the connection broke", { sent: true });
const REFUSED = new RedisAnswerError("WRONGTYPE");
const ALL_THERE = 1;

test("a batch that is sent again in halves, because one of it is refused, is still a repetition", async () => {
  const { sent, settle } = stand(GONE, REFUSED, ALL_THERE, ALL_THERE);
  expect(await settle()).toEqual(["settled", "settled"]);
  expect(sent).toEqual([
    { isRepetition: false, loans: 2 },
    { isRepetition: true, loans: 2 },
    { isRepetition: true, loans: 1 },
    { isRepetition: true, loans: 1 },
  ]);
});
