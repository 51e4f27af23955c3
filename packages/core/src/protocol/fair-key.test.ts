import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { encodeEnvelope } from "./envelope.ts";
import { FAIR_KEY_HEADER, fairKeyIn, fairKeyText, toFairKey } from "./fair-key.ts";

const envelopeOf = (headers: Readonly<Record<string, unknown>>): string =>
  encodeEnvelope(
    {
      headers,
      properties: { correlationId: "c", replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} },
      contentType: "application/json",
      contentEncoding: "utf-8",
      body: Buffer.from('[[{"fair_key": "not this"}], {}, {}]'),
    },
    { exchange: "", routingKey: "q" },
    "tag",
  );

describe("the fair key of an envelope", () => {
  test("any key that is accepted is found again, whatever else the headers hold", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 }), fc.jsonValue(), (text, other) => {
        const key = toFairKey(text);
        fc.pre(key !== undefined);
        const envelope = envelopeOf({ task: "t", argsrepr: `('"${FAIR_KEY_HEADER}": "x"',)`, other, [FAIR_KEY_HEADER]: text });
        expect(fairKeyIn(envelope)).toBe(key);
        expect(fairKeyIn(Buffer.from(envelope))).toBe(key);
        expect(fairKeyText(key)).toBe(text);
      }),
    );
  });

  test("a text of the header's name is no header, and text that quotes one is none", () => {
    const name = FAIR_KEY_HEADER;
    expect(fairKeyIn(envelopeOf({ a: name, b: [name], c: `"${name}": "x"`, d: `${name}": "x` }))).toBe("");
    expect(fairKeyIn(envelopeOf({ a: name, [name]: "acme" }))).toBe("acme");
  });

  test("a whole number is its digits; null, other kinds, control characters and what is too long count as no key", () => {
    expect(fairKeyIn(envelopeOf({ [FAIR_KEY_HEADER]: 42 }))).toBe("42");
    expect(toFairKey(42)).toBe("42");
    for (const value of [null, true, 1.5, [], { a: 1 }, "", "x".repeat(201)]) {
      expect(fairKeyIn(envelopeOf({ [FAIR_KEY_HEADER]: value })), JSON.stringify(value)).toBe("");
      expect(toFairKey(value), JSON.stringify(value)).toBeUndefined();
    }
    expect(toFairKey("a\nb")).toBeUndefined();
    expect(fairKeyIn(`{"${FAIR_KEY_HEADER}":"compact"}`)).toBe("compact");
    expect(fairKeyIn(`{"${FAIR_KEY_HEADER}": "unfinished`)).toBe("");
  });
});
