/** Control messages and events of real Celery: their envelopes and bodies are read, and requests are written as Celery writes them. */
import { expect, test } from "vitest";
import {
  type ControlReply,
  decodeControlReply,
  decodeControlRequest,
  encodeControlReply,
  encodeControlRequest,
} from "../../src/protocol/control.ts";
import { type CeleryEvent, decodeEvents, encodeEvent, encodeEvents, type OriginatedEvent } from "../../src/protocol/event.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/protocol/envelope.ts";
import { contentTypesFor, decodeBody } from "../../src/protocol/serializers.ts";
import { fixtures } from "./fixtures.ts";

const accept = contentTypesFor(["json"]);

/** Every envelope that stands somewhere in a recorded file. */
function envelopes(data: unknown): string[] {
  if (Array.isArray(data)) return data.flatMap(envelopes);
  if (typeof data !== "object" || data === null) return [];
  const { raw, ...others } = data as { raw?: unknown };
  const own = typeof raw === "string" && raw.startsWith('{"body"') ? [raw] : [];
  return [...own, ...Object.values(others).flatMap(envelopes)];
}

const recorded = [...fixtures("events"), ...fixtures("pidbox")].flatMap(({ path, data }) =>
  envelopes(data).map((raw, at) => ({ name: `${path}[${at}]`, raw })),
);

test("there is something to check", () => expect(recorded.length).toBeGreaterThan(150));

test.each(recorded)("$name is read, and its envelope is written with the same meaning", ({ raw }) => {
  const { message, info, deliveryTag } = decodeEnvelope(raw);
  expect(decodeBody(message, { accept })).toBeTypeOf("object");
  expect(JSON.parse(encodeEnvelope(message, info, deliveryTag))).toEqual(JSON.parse(raw));
});

/** JSON has no 100.0 that were not 100 here, and seconds go through milliseconds. */
const text = (body: Uint8Array): string =>
  Buffer.from(body)
    .toString()
    .replaceAll(/(\d)\.0\b/g, "$1")
    .replaceAll(/"(timestamp|runtime)": ([\d.e-]+)/g, (_, name, value) => `"${String(name)}": ${Number(value).toFixed(5)}`);

test.each(fixtures("pidbox").flatMap(({ path, data }) => ((data.request ?? []) as { raw: string }[]).map(({ raw }) => ({ path, raw }))))(
  "the request of $path is read, and written as Celery writes it",
  ({ raw }) => {
    const { message } = decodeEnvelope(raw);
    const request = decodeControlRequest(message, { accept });
    const { clock, expiresAt } = request;
    const ours = encodeControlRequest(request, {
      serializer: "json",
      ...(clock !== undefined && { clock }),
      ...(expiresAt !== undefined && { expiresAt }),
    });
    expect(text(ours.body)).toBe(text(message.body));
    expect(ours.headers.clock).toBe(message.headers.clock);
    expect(ours.headers.expires).toBeCloseTo(message.headers.expires as number, 3);
    expect(ours.properties).toEqual(message.properties);
  },
);

test.each(
  fixtures("pidbox").flatMap(({ path, data }) => ((data.reply_messages ?? []) as { raw: string }[]).map(({ raw }) => ({ path, raw }))),
)("the reply of $path is read, and written as Celery writes it", ({ raw }) => {
  const { message } = decodeEnvelope(raw);
  const [reply, ...others] = decodeControlReply(message, { accept });
  expect(others).toEqual([]);
  const ours = encodeControlReply(reply as ControlReply, { serializer: "json", clock: message.headers.clock as number });
  expect(reply).toMatchObject({ node: "worker@example", ticket: message.headers.ticket });
  expect(JSON.parse(text(ours.body))).toEqual(JSON.parse(text(message.body)));
  expect(ours.headers).toEqual(message.headers);
  expect(ours.properties).toEqual(message.properties);
});

test.each(fixtures("events").flatMap(({ path, data }) => envelopes(data).map((raw, at) => ({ name: `${path}[${at}]`, raw }))))(
  "the events of $name are read, and written as Celery writes them",
  ({ raw }) => {
    const { message, info } = decodeEnvelope(raw);
    const events = decodeEvents(message, { accept }).map(({ type, fields, hostname, at, pid, clock, utcOffset }) => {
      const origin = { hostname, at, pid: pid as number, clock: clock as number, utcOffset: utcOffset as number };
      return { event: { type, ...fields } as unknown as CeleryEvent, origin };
    });
    expect(events.length).toBeGreaterThan(0);
    if (events.some(({ event }) => event.type.startsWith("worker-elect"))) return; // read, but never sent by us
    const isList = info.routingKey.endsWith(".multi");
    const ours = isList
      ? encodeEvents("task", events as [OriginatedEvent, ...OriginatedEvent[]], { serializer: "json" })
      : encodeEvent(events[0] as OriginatedEvent, { serializer: "json" });
    expect([ours.exchange, ours.routingKey]).toEqual([info.exchange, info.routingKey]);
    expect(text(ours.message.body)).toBe(text(message.body));
    expect(ours.message.headers).toEqual(message.headers);
    expect(ours.message.properties).toEqual(message.properties);
  },
);
