import fc from "fast-check";
import { expect, test } from "vitest";

import { ProtocolError } from "./errors.ts";
import { decodeJson, encodeJson } from "./json.ts";
import { decodeJsonBody } from "./json-body.ts";
import { DEFAULT_LIMITS } from "./limits.ts";

const END = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}]';

function answerOf(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return [error.code, error.message];
  }
}

function same(text: string, limits = DEFAULT_LIMITS): void {
  expect(answerOf(() => decodeJsonBody(text, limits))).toStrictEqual(answerOf(() => decodeJson(text, limits, "body")));
}

test("it says what decodeJson says of the whole", () => {
  const value = fc.oneof(
    fc.jsonValue().map((each) => encodeJson(JSON.parse(JSON.stringify(each)))),
    fc.constantFrom("NaN", "123456789012345678901", '{"__type__": "date", "__value__": "2024-02-29"}', '"\\", {}"'),
  );
  fc.assert(
    fc.property(value, fc.oneof(fc.constant("{}"), value), (args, kwargs) => same(`[${args}, ${kwargs}, ${END}`)),
    { numRuns: 500 },
  );
});

test("also of what is no body", () => {
  const piece = fc.constantFrom("[", "]", "{", "}", '"', ",", ", ", ", {}", ", {}, ", "1", "null", '"a": 1', "\\", " ", END);
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.boolean(), (pieces, isClosed) =>
      same(pieces.join("") + (isClosed ? `, ${END}` : "")),
    ),
    { numRuns: 3000 },
  );
});

test.each([3, 4, 5])("%i deep at most", (maxDepth) => {
  for (const args of ["[]", "[[]]", "[[[]]]", "[[[[]]]]"]) same(`[${args}, {}, ${END}`, { ...DEFAULT_LIMITS, maxDepth });
});

test("not longer than the whole may be", () => same(`[[1], {}, ${END}`, { ...DEFAULT_LIMITS, maxBytes: 20 }));

test("what one body is given is not another's", () => {
  const read = (): unknown[] => decodeJsonBody(`[[1], {}, ${END}`, DEFAULT_LIMITS) as unknown[];
  const [, kwargs, embed] = read();
  expect([read()[1] === kwargs, read()[2] === embed]).toEqual([false, false]);
});
