import { expect, test } from "vitest";

import { systemClock } from "../../shared/clock.ts";
import type { askOnce } from "./connection.ts";
import { RedisGoneError } from "./errors.ts";
import { makeResolver } from "./resolver.ts";
import { parseRedisTarget } from "./target.ts";

const never = new AbortController().signal;
const unasked: typeof askOnce = async () => {
  throw new Error("nobody asks");
};

function list(url: string, failoverStrategy: "round-robin" | "shuffle", random = () => 0) {
  return makeResolver(parseRedisTarget({ url, failoverStrategy }).route, { clock: systemClock, random, ask: unasked });
}

test("a list: what works is kept, what fails is followed by the next, once for each failure", async () => {
  const resolver = list("redis://a;redis://b;redis://c", "round-robin");
  const first = await resolver.resolve(never);
  expect(first.location).toBe("redis://a:6379/0");
  resolver.failed(first);
  resolver.failed(first); // another connection, that failed with it
  const second = await resolver.resolve(never);
  expect(second.location).toBe("redis://b:6379/0");
  expect(await resolver.resolve(never)).toBe(second);
  resolver.failed(second);
  resolver.failed(await resolver.resolve(never));
  expect(await resolver.resolve(never)).toBe(first);
});

test.each([0, 0.4, 0.99])("shuffled: never the one that has just failed", async (chance) => {
  const resolver = list("redis://a;redis://b;redis://c", "shuffle", () => chance);
  for (let i = 0; i < 10; i += 1) {
    const now = await resolver.resolve(never);
    resolver.failed(now);
    expect(await resolver.resolve(never)).not.toBe(now);
  }
});

test("one server is tried again", async () => {
  const resolver = list("redis://a", "shuffle");
  const only = await resolver.resolve(never);
  resolver.failed(only);
  expect(await resolver.resolve(never)).toBe(only);
});

/** Sentinels that answer with these fields, or fail. */
function sentinels(answers: readonly (Record<string, string | number> | Error)[], minOtherSentinels = 0) {
  const url = answers.map((_, i) => `sentinel://:pw@s${i}/2`).join(";");
  const target = parseRedisTarget({ url, transportOptions: { master_name: "shop", min_other_sentinels: minOtherSentinels } });
  const ask: typeof askOnce = async ({ server }, _limits, _clock, name, args) => {
    expect([name, ...args]).toEqual(["SENTINEL", "MASTER", "shop"]);
    const answer = answers["host" in server ? Number(server.host.slice(1)) : 0];
    if (answer instanceof Error) throw answer;
    return Object.entries({ flags: "master", "num-other-sentinels": 2, ...answer }).flatMap(([key, value]) => [
      Buffer.from(key),
      Buffer.from(String(value)),
    ]);
  };
  return makeResolver(target.route, { clock: systemClock, random: () => 0, ask });
}

test("sentinels: the newest answer is believed, whoever is silent", async () => {
  const resolver = sentinels([
    new RedisGoneError("away", { sent: false }),
    { ip: "10.0.0.1", port: 6379, "config-epoch": 3 },
    { ip: "10.0.0.2", port: 6380, "config-epoch": 4 },
  ]);
  expect(await resolver.resolve(never)).toMatchObject({
    server: { host: "10.0.0.2", port: 6380 },
    db: 2,
    password: "pw",
    location: "redis://10.0.0.2:6380/2",
  });
});

test.each([
  ["that is down", { flags: "master,o_down", ip: "a", port: 1 }],
  ["that one sentinel sees as down", { flags: "master,s_down", ip: "a", port: 1 }],
  ["of a sentinel that knows too few others", { ip: "a", port: 1, "num-other-sentinels": 0 }],
])("a master %s is none", async (_why, answer) => {
  await expect(sentinels([answer], 1).resolve(never)).rejects.toThrowError(/no sentinel knows a master named shop/);
});

test("when all sentinels fail, why the first did is told", async () => {
  const resolver = sentinels([new RedisGoneError("first away", { sent: false }), new RedisGoneError("second away", { sent: false })]);
  await expect(resolver.resolve(never)).rejects.toThrowError("first away");
});
