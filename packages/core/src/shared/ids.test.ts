import { expect, test } from "vitest";

import { newId } from "./ids.ts";

test("ids are UUIDs of version 4, each another, whichever part of the pool they come from", () => {
  const ids = Array.from({ length: 2000 }, newId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(ids).size).toBe(ids.length);
});

test("every digit that is random takes every value", () => {
  const ids = Array.from({ length: 4000 }, newId);
  for (let place = 0; place < 36; place++) {
    const seen = new Set(ids.map((id) => id[place])).size;
    expect(seen, `place ${place}`).toBe([8, 13, 14, 18, 23].includes(place) ? 1 : place === 19 ? 4 : 16);
  }
});
