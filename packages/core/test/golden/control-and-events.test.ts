/** Control messages and events of real Celery: their envelopes and bodies are read, and requests are written as Celery writes them. */
import { describe, expect, test } from "vitest";
import { encodeControlRequest } from "../../src/protocol/control.ts";
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

describe("requests", () => {
  const requests = fixtures("pidbox").flatMap(({ path, data }) =>
    ((data.request ?? []) as { raw: string }[]).map(({ raw }) => ({ path, raw })),
  );

  test.each(requests)("$path is written as Celery writes it", ({ raw }) => {
    const { message } = decodeEnvelope(raw);
    const body = decodeBody(message, { accept }) as {
      method: string;
      arguments: Record<string, unknown>;
      destination: string[] | null;
      pattern: string | null;
      matcher: "glob" | null;
      ticket?: string;
      reply_to?: { exchange: string; routing_key: string };
    };
    const ours = encodeControlRequest(
      {
        method: body.method,
        arguments: body.arguments,
        ...(body.destination && { destination: body.destination }),
        ...(body.pattern && { pattern: body.pattern }),
        ...(body.matcher && { matcher: body.matcher }),
        ...(body.ticket !== undefined && { ticket: body.ticket }),
        ...(body.reply_to && { replyTo: { exchange: body.reply_to.exchange, routingKey: body.reply_to.routing_key } }),
      },
      { serializer: "json", clock: message.headers.clock as number, expiresAt: (message.headers.expires as number) * 1000 },
    );
    expect(Buffer.from(ours.body).toString()).toBe(
      Buffer.from(message.body)
        .toString()
        .replaceAll(/(\d)\.0\b/g, "$1"),
    ); // 100.0 is 100 here
    expect(ours.headers.clock).toBe(message.headers.clock);
    expect(ours.headers.expires).toBeCloseTo(message.headers.expires as number, 3);
  });
});
