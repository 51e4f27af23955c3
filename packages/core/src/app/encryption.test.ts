import { array, assert, constantFrom, dictionary, integer, jsonValue, oneof, property, string, tuple, uniqueArray } from "fast-check";
import { describe, expect, test } from "vitest";
import { Decimal } from "../protocol/json-values.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import { readTaskMessage, type ReceivedTask } from "../protocol/task-message.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "../worker/worker.ts";
import type { Lovage } from "./app.ts";
import { openArguments, readEncrypt, sealArguments } from "./encrypted-arguments.ts";
import { DecryptionError, FieldCipher, isSealed, type SealedValue } from "./encryption.ts";
import { CallError, ConfigurationError, TaskDefinitionError } from "./errors.ts";

const OLD = Buffer.alloc(32, 1).toString("base64");
const NEW = Buffer.alloc(32, 2).toString("base64");
const cipher = new FieldCipher({ old: OLD }, null);

async function sentBy(app: Lovage): Promise<ReceivedTask> {
  const broker = await app.broker();
  const end = new AbortController();
  for await (const [delivery] of broker.consume(["celery"], {
    worker: "w",
    credit: { free: () => 1, whenFree: async () => {} },
    signal: end.signal,
  })) {
    end.abort();
    const { message, info } = delivery?.open() ?? {};
    if (message && info) return readTaskMessage(message, info, { accept: contentTypesFor(["json"]) });
  }
  throw new Error("nothing was sent");
}

describe("values", () => {
  test("come back as they were, under the same task and key, and look different each time", () => {
    for (const value of [1, "\u00e9", null, { a: [true, new Date(0), new Decimal("1.50")] }]) {
      const [first, second] = [cipher.seal(value, "t", "args[0]"), cipher.seal(value, "t", "args[0]")];
      expect(JSON.parse(JSON.stringify(cipher.open(first, "t")))).toEqual(JSON.parse(JSON.stringify(value)));
      expect(first.data).not.toBe(second.data);
      expect(first.nonce).not.toBe(second.nonce);
    }
  });

  test("are refused under another task, with another key, or when a bit of them was changed", () => {
    const sealed = cipher.seal("secret", "t", "args[0]");
    expect(() => cipher.open(sealed, "other")).toThrow(DecryptionError);
    expect(() => new FieldCipher({ old: NEW }, null).open(sealed, "t")).toThrow("it was changed, or encrypted for another task");
    expect(() => new FieldCipher({ new: NEW }, null).open(sealed, "t")).toThrow('there is no key "old" in encryptionKeys');
    for (const part of ["data", "nonce"] as const) {
      const bytes = Buffer.from(sealed[part], "base64");
      for (let at = 0; at < bytes.length; at++) {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] as number) ^ 1;
        expect(() => cipher.open({ ...sealed, [part]: changed.toString("base64") }, "t")).toThrow(DecryptionError);
      }
    }
    expect(() => cipher.open({ ...sealed, data: sealed.data.slice(0, 8) }, "t")).toThrow("it is not complete");
  });

  test("keys rotate: all decrypt, the named one encrypts", () => {
    const before = cipher.seal("a", "t", "args[0]");
    const rotated = new FieldCipher({ old: OLD, new: NEW }, "new");
    expect(rotated.open(before, "t")).toBe("a");
    expect(rotated.seal("b", "t", "args[0]").key).toBe("new");
  });

  test.each([
    [{ old: OLD, new: NEW }, null, "encryptionKeyId must say which one encrypts"],
    [{ old: OLD }, "new", "encryptionKeys has no key of that name"],
    [{ short: "c2hvcnQ=" }, null, 'the key "short" of encryptionKeys is not 32 bytes'],
  ])("keys that cannot be used are refused without showing them", (ring, current, message) => {
    expect(() => new FieldCipher(ring as Record<string, string>, current)).toThrow(ConfigurationError);
    expect(() => new FieldCipher(ring as Record<string, string>, current)).toThrow(message);
  });
});

describe("arguments", () => {
  const seal = (args: readonly unknown[], kwargs: Record<string, unknown>, paths: readonly string[] | true) =>
    sealArguments({ args, kwargs }, readEncrypt(paths) ?? [], () => cipher, "t");

  test("only what the paths name is encrypted, and what was given stays as it was", () => {
    const args = [{ card: { number: "4111", name: "A" }, lines: [{ iban: "X", n: 1 }, { n: 2 }] }, "plain"];
    const before = structuredClone(args);
    const sealed = seal(args, { email: "a@b", x: 1 }, [
      "args[0].card.number",
      "args[0].lines[*].iban",
      "kwargs.email",
      "args[7]",
      "args[1].no",
    ]);
    expect(args).toEqual(before);
    expect(sealed).toMatchObject({ args: [{ card: { name: "A" }, lines: [{ n: 1 }, { n: 2 }] }, "plain"], kwargs: { x: 1 } });
    expect(JSON.stringify(sealed)).not.toMatch(/4111|a@b|"X"/);
    expect(openArguments(sealed, () => cipher, "t")).toEqual({ args: before, kwargs: { email: "a@b", x: 1 } });
  });

  test("whatever they are, and whatever is encrypted of them, they come back", () => {
    const path = tuple(constantFrom("args", "kwargs"), array(oneof(integer({ min: 0, max: 2 }).map((n) => `[${n}]`), constantFrom("[*]", ".a", ".b")), { minLength: 1, maxLength: 3 }))
      .map(([root, steps]) => root + steps.join("")); // prettier-ignore
    const name = constantFrom("a", "b", "c");
    assert(
      property(
        array(oneof(jsonValue(), dictionary(name, oneof(string(), array(integer()))))),
        dictionary(name, jsonValue()),
        uniqueArray(path, { minLength: 1 }),
        (args, kwargs, paths) => {
          const call = JSON.parse(JSON.stringify({ args, kwargs })) as { args: unknown[]; kwargs: Record<string, unknown> };
          const sealed = seal(call.args, call.kwargs, paths);
          expect(openArguments(sealed, () => cipher, "t")).toEqual(call);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("true encrypts each argument as a whole", () => {
    const sealed = seal([1, [2]], { a: 3 }, true);
    expect([...sealed.args, ...Object.values(sealed.kwargs)].every(isSealed)).toBe(true);
  });

  test("what is no JSON is refused with its path", () => {
    expect(() => seal([{ card: { x: new Map() } }], {}, ["args[0].card"])).toThrow(ProtocolError);
    expect(() => seal([{ card: { x: new Map() } }], {}, ["args[0].card"])).toThrow("args[0].card.x: a Map");
  });
});

describe("tasks", () => {
  const settings = { encryptionKeys: { k1: OLD } };

  test("messages and what monitors see of them hold no plaintext; the task receives it, also after a retry with other arguments", async () => {
    await using app = memoryApp(settings);
    const seen: unknown[] = [];
    const pay = app.task({
      name: "pay",
      encrypt: ["args[0].card", "kwargs.pin"],
      params: ["order", "pin"],
      run(ctx, order: { card: string; n: number }, pin: string) {
        seen.push([order, pin, JSON.stringify(ctx.args)]);
        if (ctx.retries === 0) ctx.retry({ args: [{ card: "5500-0000", n: 2 }], kwargs: { pin: "4321" }, countdown: 0 });
        return order.card.length;
      },
    });
    const sent = await pay.applyAsync([{ card: "4111-1111", n: 1 }], { pin: "1234" });
    await using worker = new Worker(app, { concurrency: 1 });
    await worker.start();
    expect(await sent.get({ timeout: 20 })).toBe(9);
    expect(seen.map((each) => (each as unknown[]).slice(0, 2))).toEqual([
      [{ card: "4111-1111", n: 1 }, "1234"],
      [{ card: "5500-0000", n: 2 }, "4321"],
    ]);
    for (const each of seen) expect((each as string[])[2]).not.toMatch(/4111|5500/);
  });

  test("argsrepr says that something is encrypted", async () => {
    await using app = memoryApp(settings);
    await app.sendTask("elsewhere", [{ card: "4111" }], { pin: "1234" }, { encrypt: ["args[0].card", "kwargs.pin"] });
    const received = await sentBy(app);
    expect(received.argsrepr).toBe("({'card': <encrypted>},)");
    expect(received.kwargsrepr).toBe("{'pin': <encrypted>}");
    const [{ card }] = received.body().args as [{ card: SealedValue }];
    expect(app.cipher.open(card, "elsewhere")).toBe("4111");
  });

  test("a value that arrives in the clear is taken as it is", async () => {
    await using app = memoryApp(settings);
    const echo = app.task({ name: "echo", encrypt: true, run: (_ctx, value: string) => value });
    expect(await (await echo.apply(["plain"])).get()).toBe("plain");
  });

  test("what is wrong is said where it is written", async () => {
    await using app = memoryApp();
    const wrong = app.task({ name: "wrong", encrypt: ["card"], run() {} });
    await expect(wrong.delay()).rejects.toThrow(TaskDefinitionError);
    await expect(wrong.delay()).rejects.toThrow('encrypt of the task wrong is not accepted: "card" is not a path such as args[0].card');
    await expect(app.sendTask("t", [1], null, { encrypt: [] })).rejects.toThrow(CallError);
    const keyless = app.task({ name: "keyless", encrypt: true, run(_ctx, _value: number) {} });
    await expect(keyless.delay(1)).rejects.toThrow("args[*] of keyless is to be encrypted, and there is no key: set encryptionKeys");
  });
});
