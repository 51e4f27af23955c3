import { expect, test } from "vitest";

import { contentTypesFor } from "./serializers.ts";
import { decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { editArguments } from "./edit-arguments.ts";
import { encodeTaskMessage, readTaskMessage } from "./task-message.ts";

const accept = contentTypesFor(["json", "yaml", "msgpack"]);

test.each([
  { serializer: "json" },
  { serializer: "json", compression: "gzip" },
  { serializer: "json", compression: "zlib" },
  { serializer: "msgpack" },
  { serializer: "yaml" },
])("other arguments in the form they had: $serializer $compression", (codec) => {
  const embed = { chain: [{ task: "next", args: [1], kwargs: {}, options: {}, subtask_type: null, immutable: false }] };
  const task = {
    id: "t-1",
    task: "shop.add",
    args: [1, 12345678901234567890n],
    kwargs: { a: 1 },
    headers: { mine: [1] },
    embed,
    retries: 2,
  };
  const before = encodeEnvelope(encodeTaskMessage(task, { ...codec, now: 0 }), { exchange: "", routingKey: "q" }, "tag");
  const after = editArguments(before, { args: [2], kwargs: { b: "é" } });
  const [old, edited] = [before, after].map((envelope) => {
    const { message, info, deliveryTag } = decodeEnvelope(envelope);
    return {
      ...readTaskMessage(message, info, { accept }).body(),
      headers: message.headers,
      properties: message.properties,
      info,
      deliveryTag,
    };
  });
  expect(edited).toEqual({
    ...old,
    args: [2],
    kwargs: { b: "é" },
    headers: { ...old?.headers, argsrepr: "(2,)", kwargsrepr: "{'b': 'é'}" },
  });
  expect(edited?.embed.chain?.[0]).toMatchObject({ task: "next" });
});

test("a message of protocol 1 keeps its form", () => {
  const body = { task: "shop.add", id: "t-1", args: [1], kwargs: {}, retries: 1, eta: null };
  const before = JSON.stringify({
    body: Buffer.from(JSON.stringify(body)).toString("base64"),
    "content-type": "application/json",
    "content-encoding": "utf-8",
    headers: {},
    properties: { body_encoding: "base64", delivery_tag: "x", delivery_info: { exchange: "", routing_key: "q" } },
  });
  const { message } = decodeEnvelope(editArguments(before, { args: [9], kwargs: { k: 1 } }));
  expect(JSON.parse(Buffer.from(message.body).toString())).toEqual({ ...body, args: [9], kwargs: { k: 1 } });
  expect(message.headers).toEqual({});
});

test("what holds no arguments is refused", () => {
  expect(() => editArguments('{"body": "7", "properties": {}}', { args: [], kwargs: {} })).toThrow(/no arguments/);
  expect(() => editArguments("not an envelope", { args: [], kwargs: {} })).toThrow();
});
