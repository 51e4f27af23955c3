import { expect, test } from "vitest";

import { EnvelopeReader } from "../../protocol/envelope-reader.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { type Claim, Claims } from "./claims.ts";
import { RedisDelivery } from "./delivery.ts";

const source = { queue: "q", list: "q" };

function room() {
  const sent: (readonly (readonly unknown[])[])[] = [];
  const connection = {
    script: async (_: unknown, ...call: readonly (readonly unknown[])[]) => void sent.push(call),
  } as unknown as RedisConnection;
  const claims = new Claims();
  const claim = (number: number, text: string): Claim => {
    const made: Claim = {
      delivery: new RedisDelivery({ loan: `p.${number}\nq`, number, source, raw: Buffer.from(text), reader: new EnvelopeReader() }),
      from: { inbox: "inbox", source },
      connection,
    };
    claims.add(made);
    return made;
  };
  return { claims, connection, sent, claim };
}

test("a claim is confirmed by the very message that was claimed, and by no other", () => {
  const { claims, claim } = room();
  const [right, wrong, none] = [claim(1, "a"), claim(2, "b"), claim(3, "c")];
  expect(claims.confirm(right, Buffer.from("a"))).toBe(true);
  expect(claims.confirm(wrong, Buffer.from("x"))).toBe(false);
  expect(claims.confirm(none, undefined)).toBe(false);
  expect(claims.areAny).toBe(false);
});

test("what is made up for is what was not confirmed, once", async () => {
  const { claims, claim, connection, sent } = room();
  claim(1, "there");
  claim(2, "in the inbox");
  const answered = claim(3, "answered");
  claims.confirm(answered, answered.delivery.raw);
  await claims.makeUp(connection, "loans", "epoch", "p.", ["p.1\nq"]);
  expect(sent).toEqual([
    [
      ["loans", "inbox", "q"],
      ["epoch", "p.", 2, 1, 12, 0, 1],
    ],
  ]);
  expect(claims.areAny).toBe(false);
  await claims.makeUp(connection, "loans", "epoch", "p.", []);
  expect(sent).toHaveLength(1);
});
