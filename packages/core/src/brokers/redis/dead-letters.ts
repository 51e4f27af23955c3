/** What cannot or must not run any more, kept per queue up to its caps, bytes as they were. */
import { isUtf8 } from "node:buffer";

import { asList, asNumber, asText, asTexts } from "../../stores/redis/answers.ts";
import type { Answer } from "../../stores/redis/connection.ts";
import { deadIndexKey, deadKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type {
  DeadLetter, DeadLetterCaps, DeadLetterCounts, DeadLetterFilter, DeadLetterPage, DeadLetterPageOptions,
  DeadLetterRecord, DeadLetters, RestoreOptions,
} from "../broker.ts"; // prettier-ignore
import { begunAnew } from "../envelope-edits.ts";
import type { RedisContext } from "./context.ts";
import { asking } from "./failures.ts";
import { withLosses } from "./losses.ts";

const restoreScript = loadScript("restore-dead");
const scanScript = loadScript("scan-dead");
const expireScript = loadScript("expire-dead");

/** Letters that one script looks at: a few milliseconds of Redis's time. */
const SCAN = 1000;
/** A millisecond or two; more go next time. */
const EXPIRED_AT_ONCE = 500;

export class RedisDeadLetters implements DeadLetters {
  readonly #context: RedisContext;

  constructor(context: RedisContext) {
    this.#context = context;
  }

  async page(queue: string, { limit, cursor, filter }: DeadLetterPageOptions): Promise<DeadLetterPage> {
    const scanned = await this.#scan(queue, "letters", cursor, limit, filter);
    const entries: DeadLetter[] = [];
    for (let i = 0; i + 1 < scanned.items.length; i += 2)
      entries.push(readLetter(queue, asText(scanned.items[i]), scanned.items[i + 1] as Buffer).letter); // ids and letters by turns
    return { entries, cursor: scanned.cursor };
  }

  async get(queue: string, id: string): Promise<DeadLetter | undefined> {
    return (await this.#read(queue, id))?.letter;
  }

  async count(queue: string, filter?: DeadLetterFilter): Promise<DeadLetterCounts> {
    const counts: Record<string, number> = {};
    let cursor: string | undefined;
    do {
      const scanned = await this.#scan(queue, "reasons", cursor, SCAN, filter);
      const told = asTexts(scanned.items);
      for (let i = 0; i + 1 < told.length; i += 2) counts[told[i] as string] = (counts[told[i] as string] ?? 0) + Number(told[i + 1]);
      cursor = scanned.cursor;
    } while (cursor !== undefined);
    return counts; // keys as the records have them
  }

  async restore(queue: string, id: string, { raw }: RestoreOptions = {}): Promise<boolean> {
    const found = await this.#read(queue, id);
    if (found === undefined) return false;
    const { letter, list } = found;
    const renewed = begunAnew(raw ?? letter.raw, letter.reason);
    // With our count of losses it would be dead-lettered again at the first.
    const envelope = typeof renewed === "string" ? withLosses(renewed.trimStart(), 0) : withoutLosses(Buffer.from(renewed));
    return await this.#take(queue, id, found.head, list, envelope);
  }

  async remove(queue: string, id: string): Promise<boolean> {
    const found = await this.#read(queue, id);
    return found !== undefined && (await this.#take(queue, id, found.head));
  }

  async expire(queues: readonly string[]): Promise<number> {
    const { shard, deadLetterCaps } = this.#context;
    const { maxAgeMs } = deadLetterCaps;
    if (maxAgeMs === Infinity) return 0;
    const counts = await asking(this.#context, (connection) =>
      Promise.all(
        queues.map(async (queue) => {
          const keys = [deadKey(shard, queue), deadIndexKey(shard, queue)];
          return asNumber(await connection.script(expireScript, keys, [Math.ceil(maxAgeMs), EXPIRED_AT_ONCE]));
        }),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async purge(queue: string, filter?: DeadLetterFilter): Promise<number> {
    let count = 0;
    let cursor: string | undefined;
    do {
      const scanned = await this.#scan(queue, "purge", cursor, SCAN, filter);
      count += asNumber(scanned.items[0]);
      cursor = scanned.cursor;
    } while (cursor !== undefined);
    return count;
  }

  async #scan(
    queue: string,
    what: "letters" | "reasons" | "purge",
    cursor: string | undefined,
    wanted: number,
    filter: DeadLetterFilter = {},
  ): Promise<{ readonly cursor: string | undefined; readonly items: readonly Answer[] }> {
    const { shard } = this.#context;
    const { reasons, tasks, since, before } = filter;
    const accepted = JSON.stringify({ reasons: asKeys(reasons), tasks: asKeys(tasks), since, before });
    const isFiltered = accepted !== "{}";
    const look = what === "letters" && !isFiltered ? wanted : SCAN;
    return await asking(this.#context, async (connection) => {
      const keys = [deadKey(shard, queue), deadIndexKey(shard, queue)];
      const from = cursor === undefined ? "+inf" : `(${cursor}`;
      const [next, ...items] = asList(await connection.script(scanScript, keys, [from, look, wanted, what, accepted]));
      return { cursor: asText(next) || undefined, items };
    });
  }

  async #read(queue: string, id: string): Promise<ReturnType<typeof readLetter> | undefined> {
    if (id === BYTES_FIELD) return undefined;
    const stored = await asking(
      this.#context,
      async (connection) => await connection.command("HGET", [deadKey(this.#context.shard, queue), id]),
    );
    return Buffer.isBuffer(stored) ? readLetter(queue, id, stored) : undefined;
  }

  /** To `list`, or nowhere. False when it is not there as it was read. */
  async #take(queue: string, id: string, head: Buffer, list?: string, envelope: string | Buffer = ""): Promise<boolean> {
    const { shard } = this.#context;
    const keys = [deadKey(shard, queue), deadIndexKey(shard, queue), ...(list === undefined ? [] : [list])];
    return await asking(this.#context, async (connection) => (await connection.script(restoreScript, keys, [id, head, envelope])) === 1);
  }
}

/** Beside the letters in their hash: the sum of their lengths. */
const BYTES_FIELD = "@bytes";

const capsTexts = new WeakMap<DeadLetterCaps, string>();

/** As the scripts read them. Asked for with each batch of settlements. */
export function capsArgument(caps: DeadLetterCaps): string {
  const known = capsTexts.get(caps);
  if (known !== undefined) return known;
  const { max, maxBytes, maxAgeMs } = caps;
  const text = [max, maxBytes, maxAgeMs].map((cap) => Math.min(Math.ceil(cap), Number.MAX_SAFE_INTEGER)).join(" ");
  capsTexts.set(caps, text);
  return text;
}

function asKeys(names: readonly string[] | undefined): Readonly<Record<string, true>> | undefined {
  return names && Object.fromEntries(names.map((name) => [name, true]));
}

function withoutLosses(raw: Buffer): string | Buffer {
  return isUtf8(raw) ? withLosses(raw.toString(), 0) : raw;
}

/** Record as JSON, newline, list, newline, envelope. */
function readLetter(
  queue: string,
  id: string,
  stored: Buffer,
): { readonly letter: DeadLetter; readonly head: Buffer; readonly list: string } {
  const end = stored.indexOf(0x0a);
  const listEnd = stored.indexOf(0x0a, end + 1);
  const list = stored.toString("utf8", end + 1, listEnd);
  const raw = stored.subarray(listEnd + 1);
  const told = JSON.parse(stored.toString("utf8", 0, end)) as DeadLetterRecord; // only settle.lua and take-back.lua write here, from such a record
  return { letter: { ...told, task: told.task, id, queue, raw }, head: stored.subarray(0, stored.length - raw.length), list };
}
