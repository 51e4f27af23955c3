/** Task messages beyond what the recorded ones show: the hybrid, retries, and what must not reach a worker. */
import { describe, expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { ProtocolError } from "./errors.ts";
import { formatInstant } from "./instant.ts";
import { encodeJson } from "./json.ts";
import type { Message } from "./message.ts";
import { contentTypesFor } from "./serializers.ts";
import { encodeTaskMessage, readTaskMessage, retryMessage, type ReceivedTask } from "./task-message.ts";

const accept = contentTypesFor(["json", "yaml", "msgpack"]);
const info = { exchange: "", routingKey: "celery", redelivered: false };
const properties = { correlationId: "i", replyTo: "", deliveryMode: 2, priority: 3, expirationMs: undefined, others: {} } as const;

function message(headers: Record<string, unknown>, body: unknown): Message {
  const bytes = Buffer.from(typeof body === "string" ? body : encodeJson(body));
  return { headers, properties, contentType: "application/json", contentEncoding: "utf-8", body: bytes };
}

const read = (given: Message): ReceivedTask => readTaskMessage(given, info, { accept });
const EMPTY = { callbacks: null, errbacks: null, chain: null, chord: null };

describe("reading", () => {
  test("the hybrid: fields of the body, headers over them", () => {
    const link = { task: "t.y", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    const body = { task: "t.old", id: "old", args: [1], kwargs: { a: 2 }, eta: "2030-01-01T00:00:00Z", retries: 2, callbacks: [link] };
    for (const text of [encodeJson(body), ` \n${encodeJson(body)}`]) {
      const task = read(message({ task: "t.x", id: "i", retries: 3 }, text));
      expect(task).toMatchObject({ protocol: 2, task: "t.x", id: "i", retries: 3, eta: { at: Date.UTC(2030, 0) } });
      expect(task.body()).toEqual({ args: [1], kwargs: { a: 2 }, embed: { ...EMPTY, callbacks: [link] } });
    }
  });

  test("protocol 1 shows its arguments to monitors as a Python worker does", () => {
    const task = read(message({}, { task: "t.x", id: "i", args: [1], kwargs: { a: "b" }, taskset: "g" }));
    expect([task.protocol, task.group, task.argsrepr, task.kwargsrepr]).toEqual([1, "g", "(1,)", "{'a': 'b'}"]);
  });

  test.each(["task", "id", "eta", "expires", "retries", "timelimit"])("a %s of the wrong type is seen before the task is taken", (name) => {
    const headers = { task: "t", id: "i", [name]: { a: 1 } };
    expect(() => read(message(headers, [[], {}, {}]))).toThrow(ProtocolError);
  });

  test("what is only told of a task is left out when it is of the wrong type", () => {
    const odd = { a: 1 };
    const names = { shadow: odd, group: odd, root_id: odd, parent_id: odd, argsrepr: odd, kwargsrepr: odd, origin: odd };
    const task = read(message({ task: "t", id: "i", ...names }, [[], {}, {}]));
    const { shadow, group, rootId, parentId, argsrepr, kwargsrepr, origin } = task;
    expect(new Set([shadow, group, rootId, parentId, argsrepr, kwargsrepr, origin])).toEqual(new Set([undefined]));
  });

  test.each(["application/x-python-serialize", "text/plain", "application/x-yaml"])("%s, when only JSON is accepted", (contentType) => {
    const given = { ...message({ task: "t", id: "i" }, [[], {}, {}]), contentType };
    const task = readTaskMessage(given, info, { accept: contentTypesFor(["json"]) });
    expect(task.id).toBe("i"); // so that its failure can be stored
    expect(() => task.body()).toThrow(expect.objectContaining({ problem: "contentDisallowed" }));
  });

  test.each([
    ["two elements", [[], {}]],
    ["four elements", [[], {}, {}, {}]],
    ["keyword arguments that are a list", [[], [], {}]],
    ["keyword arguments that are bytes", [[], Buffer.from("x"), {}]],
    ["keyword arguments that are a date", [[], new Date(0), {}]],
    ["a map without arguments", { a: 1 }],
    ["a callback that is a number", [[], {}, { callbacks: [1] }]],
    ["half a map", '{"args": '],
    ["text", "x"],
    ["nothing", ""],
  ])("a body of %s is refused when it is asked for", (_, body) => {
    const task = read(message({ task: "t", id: "i" }, body));
    expect(() => task.body()).toThrow(ProtocolError);
  });

  test.each([[{}], [null]])("an embed of %j is that of a call with nothing after it", (embed) => {
    expect(read(message({ task: "t", id: "i" }, [[1], {}, embed])).body()).toEqual({ args: [1], kwargs: {}, embed: EMPTY });
  });

  test("a user's header by the name of a prototype is no prototype", () => {
    const headers = JSON.parse('{"task": "t", "id": "i", "__proto__": {"admin": true}, "own": 1}') as Record<string, unknown>;
    const { headers: users } = read(message(headers, [[], {}, {}]));
    expect([users, (users as { admin?: unknown }).admin]).toEqual([{ own: 1 }, undefined]);
  });
});

describe("a retry", () => {
  const headers = {
    task: "t",
    id: "i",
    big: 2n ** 70n,
    odd: Number.NaN,
    mine: { a: [] },
    redelivered: true,
    "x-death": [{ count: 1 }],
    "x-first-death-queue": "q",
    timelimit: [30, 20],
  };
  const task = read({ ...message(headers, [[1], { a: 1 }, {}]), properties: { ...properties, others: { origin: "gen1@host" } } });
  const eta = formatInstant(1_800_000_000_000);

  test("keeps what it was, but for what a broker wrote", () => {
    const again = retryMessage(task, { retries: 1, eta }, { serializer: "json" });
    const { redelivered: _r, "x-death": _d, "x-first-death-queue": _f, ...kept } = headers;
    expect(again.headers).toEqual({ ...kept, retries: 1, eta: eta.text, expires: null, parent_id: null });
    expect(again.properties).toEqual(task.message.properties);
    expect(again.body).toBe(task.message.body);
    const sent = decodeEnvelope(encodeEnvelope(again, info, "tag")).message;
    expect(sent.headers).toEqual(again.headers);
  });

  test("with other arguments has another body, and the same headers else", () => {
    const changes = { retries: 1, eta: null, kwargs: { a: 2 }, headers: { more: 1, id: "not mine to change" }, softTimeLimitMs: 5000 };
    const odd = read({ ...task.message, headers: { ...headers, odd: 1 } });
    const again = retryMessage(odd, changes, { serializer: "msgpack", compression: "zlib" });
    expect(again.headers).toMatchObject({ id: "i", big: 2n ** 70n, mine: { a: [] }, more: 1, timelimit: [30, 5], argsrepr: "(1,)" });
    expect([again.contentType, again.headers.compression]).toEqual(["application/x-msgpack", "application/x-gzip"]);
    expect(again.headers).not.toHaveProperty("redelivered");
    expect(read(again).body()).toEqual({ args: [1], kwargs: { a: 2 }, embed: EMPTY });
  });

  test("of a compressed message stays compressed", () => {
    const sent = encodeTaskMessage({ id: "i", task: "t", args: [1], kwargs: {} }, { serializer: "json", compression: "brotli", now: 0 });
    const again = retryMessage(read(sent), { retries: 1, eta: null }, { serializer: "json" });
    expect(again.headers.compression).toBe("application/x-brotli");
    expect(read(again).body().args).toEqual([1]);
  });

  test("of protocol 1 is of protocol 2", () => {
    const old = read(message({}, { task: "t.x", id: "i", args: [1], kwargs: {}, expires: "2030-01-01T00:00:00", retries: 1 }));
    const again = read(retryMessage(old, { retries: 2, eta }, { serializer: "json" }));
    expect(again).toMatchObject({ protocol: 2, task: "t.x", id: "i", retries: 2, eta, expires: { text: "2030-01-01T00:00:00" } });
    expect(again.body()).toEqual({ args: [1], kwargs: {}, embed: EMPTY });
  });
});
