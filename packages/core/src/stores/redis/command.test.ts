import { array, assert, integer, oneof, property, string, uint8Array } from "fast-check";
import { Command } from "ioredis";
import { expect, test } from "vitest";

import { RedisCommand } from "./command.ts";

const bytesOf = (command: Command): Buffer => Buffer.from(command.toWritable({}));

test("writes what the client library would write, whatever the arguments", () => {
  const argument = oneof(
    string({ unit: "binary", maxLength: 3000 }),
    integer(),
    uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
  );
  assert(
    property(array(argument, { maxLength: 30 }), (args) => {
      expect(bytesOf(new RedisCommand("evalsha", args))).toEqual(bytesOf(new Command("evalsha", args, { replyEncoding: null })));
    }),
  );
});
