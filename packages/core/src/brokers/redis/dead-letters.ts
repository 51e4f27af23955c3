/** What cannot or must not run any more, kept per queue up to a cap, bytes as they were. */
import { asNumber, asPairs } from "../../stores/redis/answers.ts";
import { deadIndexKey, deadKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { DeadLetter, DeadLetterPage, DeadLetterRecord, DeadLetters } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { splitEntry } from "./delivery.ts";
import { asking } from "./failures.ts";

const restoreScript = loadScript("restore-dead");

export class RedisDeadLetters implements DeadLetters {
  readonly #context: RedisContext;

  constructor(context: RedisContext) {
    this.#context = context;
  }

  async page(queue: string, options: { readonly limit: number; readonly cursor?: string }): Promise<DeadLetterPage> {
    const { shard } = this.#context;
    return await asking(this.#context, async (connection) => {
      const before = options.cursor === undefined ? "+inf" : `(${options.cursor}`;
      const listed = asPairs(
        await connection.command("ZREVRANGEBYSCORE", [deadIndexKey(shard, queue), before, "-inf", "WITHSCORES", "LIMIT", 0, options.limit]),
      );
      if (listed.length === 0) return { entries: [], cursor: undefined };
      const letters = (await connection.command("HMGET", [
        deadKey(shard, queue),
        ...listed.map(([id]) => id),
      ])) as readonly (Buffer | null)[];
      const entries = listed.flatMap(([id], i) => {
        const letter = letters[i];
        return letter ? [readLetter(queue, id, letter).letter] : []; // gone since it was listed
      });
      return { entries, cursor: listed.length < options.limit ? undefined : listed.at(-1)?.[1] };
    });
  }

  async restore(queue: string, id: string): Promise<boolean> {
    const { shard } = this.#context;
    return await asking(this.#context, async (connection) => {
      const stored = await connection.command("HGET", [deadKey(shard, queue), id]);
      if (!Buffer.isBuffer(stored)) return false;
      const { record, list } = readLetter(queue, id, stored);
      const keys = [deadKey(shard, queue), deadIndexKey(shard, queue), list];
      return (await connection.script(restoreScript, keys, [id, `${list}\n`, record])) === 1;
    });
  }

  async purge(queue: string): Promise<number> {
    const { shard } = this.#context;
    return await asking(this.#context, async (connection) => {
      const count = asNumber(await connection.command("HLEN", [deadKey(shard, queue)]));
      await connection.command("UNLINK", [deadKey(shard, queue), deadIndexKey(shard, queue)]);
      return count;
    });
  }
}

/** Record as JSON, newline, list, newline, envelope. */
function readLetter(queue: string, id: string, stored: Buffer): { letter: DeadLetter; record: Buffer; list: string } {
  const end = stored.indexOf(0x0a);
  const record = stored.subarray(0, end);
  const { list, raw } = splitEntry(stored.subarray(end + 1));
  const told = JSON.parse(record.toString()) as DeadLetterRecord; // only settle.lua and take-back.lua write here, from such a record
  return { letter: { ...told, task: told.task, id, queue, raw }, record, list };
}
