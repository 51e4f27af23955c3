import fc from "fast-check";
import { expect, test } from "vitest";

import { readBegun, readLosses, withLosses } from "./losses.ts";

const bytes = (text: string): Buffer => Buffer.from(text);

test("a message has no losses until they are written, and then the count that was written last", () => {
  const envelope = '{"body": "", "properties": {"delivery_tag": "x"}}';
  expect(readLosses(bytes(envelope))).toBe(0);
  const once = withLosses(envelope, 1);
  expect(once).toBe('{"body": "", "properties": {"delivery_tag": "x"}, "lovage_losses": 1}');
  expect(readLosses(bytes(withLosses(once, 2)))).toBe(2);
  expect(withLosses(withLosses(once, 12), 0)).toBe(envelope);
});

test("an envelope that ends with a number of its own has no losses", () => {
  expect(readLosses(bytes('{"priority": 7}'))).toBe(0);
  expect(readLosses(bytes('{"lovage_losses_not": 7}'))).toBe(0);
  expect(readLosses(bytes(""))).toBe(0);
  expect(readLosses(bytes("7}"))).toBe(0);
});

test("what kombu writes anew in its own order and spacing is still read", () => {
  expect(readLosses(bytes(JSON.stringify({ body: "" }).slice(0, -1) + ', "lovage_losses": 3}'))).toBe(3);
});

test("that it has begun is written beside its losses, and goes with them", () => {
  const once = withLosses('{"body": ""}', 1);
  const begun = withLosses(once, 1, true);
  expect(begun).toBe('{"body": "", "lovage_begun": true, "lovage_losses": 1}');
  expect([readLosses(bytes(begun)), readBegun(bytes(begun)), readBegun(bytes(once))]).toEqual([1, true, false]);
  expect(readLosses(bytes(withLosses(begun, 999_999, true)))).toBe(999_999);
  expect(withLosses(begun, 2)).toBe('{"body": "", "lovage_losses": 2}');
  expect(withLosses(begun, 0)).toBe('{"body": ""}');
});

test("writing losses changes nothing else", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.integer({ min: 1, max: 999_999 }), (fields, losses) => {
      const envelope = JSON.stringify({ headers: fields });
      const marked = withLosses(envelope, losses);
      expect(readLosses(bytes(marked))).toBe(losses);
      expect(withLosses(marked, 0)).toBe(envelope);
      expect(JSON.parse(marked)).toEqual({ headers: JSON.parse(JSON.stringify(fields)), lovage_losses: losses });
    }),
  );
});
