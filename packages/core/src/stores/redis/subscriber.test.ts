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
    const connection = { command } as unknown as RedisConnection;
    const link = { connection: async () => connection, close: () => undefined } as unknown as RedisLink;
    const events = { message: () => undefined, subscribed: () => undefined };
    const subscriber = new Subscriber("channels", events, new FakeClock(), () => link);
    subscriber.add("first");
    for (let turns = 0; turns < 4; turns++) await new Promise(setImmediate);
    expect(subscribed, `${microtasks} microtasks after the command was sent`).toEqual(["first", "second"]);
    subscriber.close();
  }
});

async function later(microtasks: number, act: () => void): Promise<void> {
  for (let done = 0; done < microtasks; done++) await Promise.resolve();
  act();
}
