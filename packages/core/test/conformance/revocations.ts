/** What every broker does that remembers revocations, and that carries answers. Part of `broker.ts`. */
import { describe, expect, test } from "vitest";

import type { Broker, KeptMark, Revocations } from "../../src/brokers/broker.ts";
import { eventually } from "../support/eventually.ts";
import { makeMessage } from "../support/broker-hands.ts";
import type { BrokerStand } from "./scene.ts";

export function revocationsConformance(stand: () => BrokerStand): void {
  const open = async (caps: Parameters<BrokerStand["open"]>[0] = {}): Promise<Revocations> => {
    const { revocations } = await stand().open(caps);
    if (!revocations) throw new Error("this broker remembers no revocations");
    return revocations;
  };
  const names = (marks: readonly KeptMark[]): string[] => marks.map(({ mark }) => mark);
  const numbered = (count: number, from = 0): string[] => Array.from({ length: count }, (_, at) => `m${from + at}`);

  describe("revocations", () => {
    test("are seen by every process, in the order they were added", async () => {
      const one = await open();
      const other = await open();
      expect(await other.page({ limit: 10 })).toMatchObject({ marks: [] });
      expect(await one.add(["b", "a"])).toBe(0);
      expect(await one.add(["c"])).toBe(0);
      expect(names((await other.page({ limit: 10 })).marks)).toEqual(["b", "a", "c"]);
      expect(await other.among(["a", "x", "c"])).toEqual(new Set(["a", "c"]));
      expect(await other.among([])).toEqual(new Set());
    });

    test("page by page: each mark once, and later only what was added since", async () => {
      const revocations = await open();
      await revocations.add(numbered(7));
      const first = await revocations.page({ limit: 3 });
      const second = await revocations.page({ limit: 3, after: first.cursor });
      const third = await revocations.page({ limit: 3, after: second.cursor });
      expect([first, second, third].map(({ marks }) => names(marks))).toEqual([["m0", "m1", "m2"], ["m3", "m4", "m5"], ["m6"]]);
      const none = await revocations.page({ limit: 3, after: third.cursor });
      expect(none.marks).toEqual([]);
      await revocations.add(["late", "m1"]); // what is added again is told again
      expect(names((await revocations.page({ limit: 3, after: none.cursor })).marks)).toEqual(["late", "m1"]);
      expect((await revocations.page({ limit: 99 })).marks).toHaveLength(8);
    });

    test("a cursor of an empty list goes on from its beginning", async () => {
      const revocations = await open();
      const { cursor } = await revocations.page({ limit: 5, newest: 5 });
      await revocations.add(["first"]);
      expect(names((await revocations.page({ limit: 5, after: cursor })).marks)).toEqual(["first"]);
    });

    test("who has little room begins with the newest", async () => {
      const revocations = await open();
      await revocations.add(numbered(10));
      const page = await revocations.page({ limit: 2, newest: 3 });
      expect(names(page.marks)).toEqual(["m7", "m8"]);
      expect(names((await revocations.page({ limit: 2, after: page.cursor })).marks)).toEqual(["m9"]);
      expect((await revocations.page({ limit: 99, newest: 50 })).marks).toHaveLength(10);
    });

    test("beyond their number the oldest make room, and that is told", async () => {
      const revocations = await open({ revocationsMax: 4 });
      expect(await revocations.add(numbered(3))).toBe(0);
      expect(await revocations.add(["m0"])).toBe(0); // there already: now the youngest
      expect(await revocations.add(numbered(3, 10))).toBe(2);
      expect(names((await revocations.page({ limit: 99 })).marks)).toEqual(["m0", "m10", "m11", "m12"]);
      expect(await revocations.among(["m0", "m1", "m2"])).toEqual(new Set(["m0"]));
    });

    test("more than one portion", async () => {
      const revocations = await open();
      const marks = numbered(2500);
      await revocations.add(marks);
      expect(await revocations.among([...marks, "other"])).toEqual(new Set(marks));
      expect((await revocations.page({ limit: 5000 })).marks).toHaveLength(2500);
    });

    test("are forgotten after their time, which the broker keeps", async () => {
      const revocations = await open({ revocationTtlMs: 400 });
      await revocations.add(["short"]);
      const [kept] = (await revocations.page({ limit: 1 })).marks;
      expect(kept?.leftMs).toBeGreaterThan(0);
      expect(kept?.leftMs).toBeLessThanOrEqual(401);
      await eventually("it is forgotten", async () => (await revocations.among(["short"])).size === 0);
      expect((await revocations.page({ limit: 9 })).marks).toEqual([]);
      await revocations.add(["new"]);
      expect(names((await revocations.page({ limit: 9 })).marks)).toEqual(["new"]);
    });
  });

  describe("answers", () => {
    const EXCHANGE = "reply.celery.pidbox";

    test("reach the place they are sent to, in order, until it is closed", async () => {
      const [asker, answerer] = [await stand().open(), await stand().open()];
      if (!asker.broadcast || !answerer.broadcast) throw new Error("this broker has no broadcast");
      const done = new AbortController();
      const seen: unknown[] = [];
      {
        await using replies = await asker.broadcast.openReplies(EXCHANGE, "me");
        await using others = await asker.broadcast.openReplies(EXCHANGE, "other");
        await answerer.broadcast.reply(makeMessage({ id: "for nobody" }), EXCHANGE, "nobody");
        await answerer.broadcast.reply(makeMessage({ id: "one" }), EXCHANGE, "me");
        await answerer.broadcast.reply(makeMessage({ id: "another's" }), EXCHANGE, "other");
        await answerer.broadcast.reply(makeMessage({ id: "two" }), EXCHANGE, "me");
        for await (const message of replies.messages(done.signal)) {
          seen.push(message.headers["id"]);
          if (seen.length === 2) break;
        }
        for await (const message of others.messages(done.signal)) {
          seen.push(message.headers["id"]);
          done.abort(); // ends it
        }
      }
      expect(seen).toEqual(["one", "two", "another's"]);
      await answerer.broadcast.reply(makeMessage({ id: "too late" }), EXCHANGE, "me"); // no error, and kept nowhere
    });

    test("who waits for answers that do not come ends with the signal", async () => {
      const { broadcast } = await stand().open();
      await using replies = await broadcast!.openReplies(EXCHANGE, "me");
      const done = new AbortController();
      const reading = (async () => {
        for await (const _ of replies.messages(done.signal)) throw new Error("nothing was sent");
      })();
      done.abort();
      await reading;
    });

    test("a subscription says when it is in force", async () => {
      const [listener, speaker]: Broker[] = [await stand().open(), await stand().open()];
      const done = new AbortController();
      const heard: unknown[] = [];
      await new Promise<void>((resolve) => {
        const messages = listener?.broadcast?.subscribe("said", "#", done.signal, { subscribed: resolve });
        void (async () => {
          for await (const message of messages ?? []) heard.push(message.headers["id"]);
        })();
      });
      await new Promise<void>((resolve) => {
        const again = listener?.broadcast?.subscribe("said", "#", done.signal, { subscribed: resolve }); // in force already
        void (async () => {
          for await (const message of again ?? []) heard.push(message.headers["id"]);
        })();
      });
      await speaker?.broadcast?.publish(makeMessage({ id: "now" }), "said", ""); // sent once: it must not be missed
      await eventually("both heard it", () => heard.length === 2);
      done.abort();
    });
  });
}
