import { assert, integer, property, array } from "fast-check";
import { expect, test } from "vitest";

import { Roster } from "./roster.ts";

test("holds what was added and not deleted, whatever the order", () => {
  assert(
    property(array(integer({ min: 0, max: 9 }), { maxLength: 100 }), (steps) => {
      const members = Array.from({ length: 10 }, (_, name) => ({ name, place: -1 }));
      const roster = new Roster<(typeof members)[number]>();
      const model = new Set<(typeof members)[number]>();
      for (const step of steps) {
        const member = members[step] as (typeof members)[number];
        if (model.delete(member)) expect(roster.delete(member)).toBe(true);
        else {
          expect(roster.delete(member)).toBe(false);
          roster.add(member);
          model.add(member);
        }
        expect(roster.size).toBe(model.size);
        for (const each of members) expect(roster.has(each)).toBe(model.has(each));
      }
      expect(new Set(roster)).toEqual(model);
    }),
  );
});

test("what is in another roster is not in this one", () => {
  const [one, other] = [new Roster(), new Roster()];
  const member = { place: -1 };
  one.add({ place: -1 });
  other.add(member);
  expect(one.has(member)).toBe(false);
  expect(one.delete(member)).toBe(false);
});

test("goes round what was there when it began", () => {
  const roster = new Roster();
  const members = [{ place: -1 }, { place: -1 }, { place: -1 }];
  for (const member of members) roster.add(member);
  let count = 0;
  for (const member of roster) {
    roster.delete(member);
    count++;
  }
  expect(count).toBe(3);
  expect(roster.size).toBe(0);
});

test("clear leaves members free to be added again", () => {
  const roster = new Roster();
  const member = { place: -1 };
  roster.add(member);
  roster.clear();
  expect(roster.has(member)).toBe(false);
  roster.add(member);
  expect(roster.size).toBe(1);
});
