import { expect, test } from "vitest";
import { Inbox } from "./inbox.ts";

test("what is pushed is read in order, before and while somebody reads, until the signal", async () => {
  const end = new AbortController();
  const inbox = new Inbox<number>(end.signal);
  inbox.push(1);
  const read: number[] = [];
  const reading = (async () => {
    for await (const item of inbox) {
      read.push(item);
      if (item < 3) inbox.push(item + 1);
      else end.abort();
    }
  })();
  await reading;
  expect(read).toEqual([1, 2, 3]);
});

test("a reader that waits ends with the signal", async () => {
  const end = new AbortController();
  const reading = new Inbox<number>(end.signal)[Symbol.asyncIterator]().next();
  await Promise.resolve();
  end.abort();
  expect(await reading).toEqual({ done: true, value: undefined });
});

test("a reader that fell behind loses the oldest", async () => {
  const end = new AbortController();
  const inbox = new Inbox<number>(end.signal, 2);
  for (const item of [1, 2, 3]) inbox.push(item);
  const read: number[] = [];
  for await (const item of inbox) {
    read.push(item);
    if (item === 3) end.abort();
  }
  expect(read).toEqual([2, 3]);
});
