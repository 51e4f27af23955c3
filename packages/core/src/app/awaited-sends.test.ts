import { expect, test } from "vitest";
import type { ResultText } from "../results/result-backend.ts";
import { AwaitedSends } from "./awaited-sends.ts";

function watched() {
  const watches = new Map<string, (text: ResultText) => void>();
  const sends = new AwaitedSends(async (id, onText) => {
    watches.set(id, onText);
    return { [Symbol.dispose]: () => void watches.delete(id) };
  });
  const send = (id: string): void => {
    sends.sending(id);
    sends.sent(id);
  };
  const makeHabit = (): void => {
    for (const id of ["a", "b", "c"]) {
      send(id);
      expect(sends.asked(id)).toBeUndefined();
    }
  };
  return { watches, sends, send, makeHabit };
}

test("after three results that were asked for at once the next one is watched before it is sent", async () => {
  const { watches, sends, makeHabit } = watched();
  makeHabit();
  expect(watches.size).toBe(0);
  sends.sending("d");
  watches.get("d")?.("stored before anybody asked");
  sends.sent("d");
  const told: ResultText[] = [];
  const early = sends.asked("d");
  await early?.listen((text) => told.push(text));
  watches.get("d")?.("and after");
  expect(told).toEqual(["stored before anybody asked", "and after"]);
  early?.[Symbol.dispose]();
  await Promise.resolve();
  expect(watches.size).toBe(0);
});

test("a result that nobody asked for ends the habit, and its watch", async () => {
  const { watches, send, sends, makeHabit } = watched();
  makeHabit();
  send("d");
  expect([...watches.keys()]).toEqual(["d"]);
  send("e"); // it was watched as well: nobody knew yet
  await Promise.resolve();
  expect([...watches.keys()]).toEqual(["e"]);
  send("f");
  await Promise.resolve();
  expect(watches.size).toBe(0);
  expect(sends.asked("d")).toBeUndefined();
});

test("a task that could not be sent is not watched any longer", async () => {
  const { watches, sends, makeHabit } = watched();
  makeHabit();
  sends.sending("d");
  sends.failed("d");
  await Promise.resolve();
  expect(watches.size).toBe(0);
});

test("who listens is told when the watch cannot begin", async () => {
  const sends = new AwaitedSends(() => Promise.reject(new Error("the backend is away")));
  for (const id of ["a", "b", "c", "d"]) {
    sends.sending(id);
    sends.sent(id);
    if (id !== "d") sends.asked(id);
  }
  await expect(sends.asked("d")?.listen(() => {})).rejects.toThrow("the backend is away");
});
