import { expect, test } from "vitest";

import { FakeClock } from "../../testing/fake-clock.ts";
import type { RedisConnection } from "./connection.ts";
import type { RedisLink } from "./link.ts";
import { Subscriber } from "./subscriber.ts";

test("a name that is asked for while the command for others is being finished is subscribed to, whenever that is", async () => {
  for (let microtasks = 0; microtasks < 40; microtasks++) {
    const subscribed: string[] = [];
    const command = async (_name: string, channels: readonly string[]): Promise<void> => {
      subscribed.push(...channels);
      if (channels.includes("first")) void later(microtasks, () => subscriber.add("second"));
    };
    const connection = { command, inOneWrite: <T>(act: () => T) => act() } as unknown as RedisConnection;
    const link = { connection: async () => connection, close: () => undefined } as unknown as RedisLink;
    const events = { message: () => undefined, subscribed: () => undefined };
    const subscriber = new Subscriber("channels", events, new FakeClock(), () => link);
    subscriber.add("first");
    for (let turns = 0; turns < 4; turns++) await new Promise(setImmediate);
    expect(subscribed, `${microtasks} microtasks after the command was sent`).toEqual(["first", "second"]);
    subscriber.close();
  }
});

function subscriberOf(keepForMs: number) {
  const asked: string[] = [];
  const connection = {
    command: async (name: string, channels: readonly string[]) => void asked.push(`${name} ${channels.join(" ")}`),
    inOneWrite: <T>(act: () => T) => act(),
  } as unknown as RedisConnection;
  const link = { connection: async () => connection, close: () => undefined } as unknown as RedisLink;
  const clock = new FakeClock();
  const subscriber = new Subscriber("channels", { message: () => undefined, subscribed: () => undefined }, clock, () => link, {
    keepForMs,
  });
  const next = async (): Promise<string[]> => {
    for (let turns = 0; turns < 4; turns++) await new Promise(setImmediate);
    return asked.splice(0);
  };
  return { subscriber, clock, next };
}

test("what nobody wants any more goes with the next that is wanted", async () => {
  const { subscriber, next } = subscriberOf(1000);
  subscriber.add("a");
  expect(await next()).toEqual(["SUBSCRIBE a"]);
  subscriber.drop("a");
  expect(await next()).toEqual([]);
  subscriber.add("b");
  expect(await next()).toEqual(["UNSUBSCRIBE a", "SUBSCRIBE b"]);
});

test("and by itself when nothing is wanted for a while, or when it has become many", async () => {
  const { subscriber, clock, next } = subscriberOf(1000);
  for (let i = 0; i < 300; i++) subscriber.add(`c${i}`);
  await next();
  subscriber.drop("c0");
  expect(await next()).toEqual([]);
  await clock.advance(1000);
  expect(await next()).toEqual(["UNSUBSCRIBE c0"]);
  for (let i = 1; i <= 249; i++) subscriber.drop(`c${i}`);
  expect(await next()).toEqual([]);
  subscriber.drop("c250");
  expect((await next()).join(" ").split(" ").length).toBe(251);
});

test("what is wanted again before it went is subscribed to again, and stays", async () => {
  const { subscriber, clock, next } = subscriberOf(1000);
  subscriber.add("a");
  await next();
  subscriber.drop("a");
  subscriber.add("a"); // whoever waits now must hear that it is in force
  expect(await next()).toEqual(["SUBSCRIBE a"]);
  await clock.advance(5000);
  expect(await next()).toEqual([]);
});

async function later(microtasks: number, act: () => void): Promise<void> {
  for (let done = 0; done < microtasks; done++) await Promise.resolve();
  act();
}
