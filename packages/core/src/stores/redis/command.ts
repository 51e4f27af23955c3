/**
 * Commands that write themselves, and know whether they were written: one that the client library refused before is certainly not executed.
 * The library copies the arguments, rewrites the copy, and counts the bytes of each anew; a task's worth of small arguments
 * takes it more than twice as long as this.
 */
import { Command } from "ioredis";

import type { Argument } from "./connection.ts";

/** The end of one argument and the head of the next, for the usual lengths. */
const HEADS = Array.from({ length: 2048 }, (_, length) => `\r\n$${length}\r\n`);

const NO_ARGUMENTS: Command["args"] = [];

export class RedisCommand extends Command {
  isWritten = false;

  /** @param args are not copied: they must stay as they are until the command is written. */
  constructor(name: string, args: readonly Argument[]) {
    super(name, [], { replyEncoding: null });
    this.args = args as Command["args"];
  }

  override toWritable(): string | Buffer {
    this.isWritten = true;
    const args = this.args as readonly Argument[];
    // What waits for its answer keeps none of them alive: a megabyte of messages would grow old with each. Of subscriptions the library counts them.
    if (!this.name.endsWith("subscribe")) this.args = NO_ARGUMENTS;
    let text = `*${args.length + 1}\r\n$${this.name.length}\r\n${this.name}`;
    let written: Uint8Array[] | undefined; // only with bytes among the arguments
    for (const argument of args) {
      if (typeof argument === "object") {
        written ??= [];
        written.push(Buffer.from(text + head(argument.byteLength)), argument);
        text = "";
      } else {
        const value = typeof argument === "string" ? argument : String(argument);
        text += head(Buffer.byteLength(value)) + value;
      }
    }
    text += "\r\n";
    return written ? Buffer.concat([...written, Buffer.from(text)]) : text;
  }
}

function head(length: number): string {
  return HEADS[length] ?? `\r\n$${length}\r\n`;
}
