import { expect, test } from "vitest";

import { capsules, weightsOf } from "./queue-options.ts";

const { parse } = capsules("--capsule <capsule>", "");

test("capsules, one after the other", () => {
  const first = parse?.("pdf=pdf,thumbs@2");
  expect(parse?.("mail=mail:3,newsletter:1", first)).toEqual({
    pdf: { queues: ["pdf", "thumbs"], concurrency: 2 },
    mail: { queues: ["mail", "newsletter"], queueOrder: { mail: 3, newsletter: 1 } },
  });
});

test.each(["pdf", "pdf=", "=pdf@2", "pdf=pdf@", "pdf=pdf@0", "pdf=pdf@x", "pdf=,@2", "default=pdf@2"])("%s is no capsule", (text) => {
  expect(() => parse?.(text)).toThrow();
});

test("the same name twice is refused", () => {
  expect(() => parse?.("pdf=thumbs", { pdf: { queues: ["pdf"] } })).toThrow(/there already/);
});

test.each([
  [
    ["a:6", "b:3", "c:1"],
    [],
    [
      ["a", 6],
      ["b", 3],
      ["c", 1],
    ],
  ],
  [["a:6", "b"], [], undefined], // not all of them
  [["tenant:42"], [], undefined], // a name: one queue has no use for a weight
  [["tenant:1", "tenant:2"], ["tenant:1"], undefined], // names: the app declares one of them so
  [["a:b:6", "c:1001"], [], undefined],
  [
    ["a:b:6", "c:1000"],
    [],
    [
      ["a:b", 6],
      ["c", 1000],
    ],
  ],
  [["a:0", "b:1"], [], undefined],
] as const)("-Q %j, with %j declared", (names, declared, weights) => {
  expect(weightsOf(names, declared)).toEqual(weights && new Map(weights));
});
