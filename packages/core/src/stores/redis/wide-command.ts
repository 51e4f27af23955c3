/**
 * Commands that know whether they were written: one that the client library refused before is certainly not executed.
 * And a command of very many arguments that writes itself. The client library adds a command up argument by argument: with a thousand
 * small ones, as a settlement of results has, the text becomes a tree of pieces that costs as much as the work it asks for (2 us a
 * task). Here they are joined at once.
 */
import { Command } from "ioredis";

import type { Argument } from "./connection.ts";

/** The end of one argument and the head of the next, for the usual lengths. */
const HEADS = Array.from({ length: 2048 }, (_, length) => `\r\n$${length}\r\n`);

/** From so many arguments on it is cheaper than the library's own. */
export const WIDE = 200;

export class PlainCommand extends Command {
  isWritten = false;

  constructor(name: string, args: readonly Argument[]) {
    super(name, args as (string | Buffer | number)[], { replyEncoding: null });
  }

  override toWritable(...stream: Parameters<Command["toWritable"]>): string | Buffer {
    this.isWritten = true;
    return super.toWritable(...stream);
  }
}

export class WideCommand extends Command {
  isWritten = false;
  readonly #arguments: readonly Argument[];

  /** @param args are not copied: they must stay as they are until the answer has come. */
  constructor(name: string, args: readonly Argument[]) {
    super(name, [], { replyEncoding: null });
    this.#arguments = args;
    this.args = args as Command["args"]; // what the library looks at for logs and for timeouts of blocking commands
  }

  override toWritable(): string | Buffer {
    this.isWritten = true;
    const pieces: string[] = [`*${this.#arguments.length + 1}\r\n$${this.name.length}\r\n${this.name}`];
    let written: Uint8Array[] | undefined; // only with bytes among the arguments
    for (const argument of this.#arguments) {
      if (typeof argument === "object") {
        pieces.push(head(argument.byteLength));
        written ??= [];
        written.push(Buffer.from(pieces.splice(0).join("")), argument);
      } else {
        const text = typeof argument === "string" ? argument : String(argument);
        pieces.push(head(Buffer.byteLength(text)), text);
      }
    }
    pieces.push("\r\n");
    const rest = pieces.join("");
    return written ? Buffer.concat([...written, Buffer.from(rest)]) : rest;
  }
}

function head(length: number): string {
  return HEADS[length] ?? `\r\n$${length}\r\n`;
}
