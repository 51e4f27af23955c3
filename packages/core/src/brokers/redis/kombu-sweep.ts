/**
 * Returns what Python workers took and never acknowledged, by kombu's own rule and under kombu's own lock, so that each is
 * returned once whoever sweeps (celery-protocol.md, section 3.6; kombu/transport/redis.py, QoS.restore_visible). Unlike kombu it
 * WATCHes nothing: a busy `unacked` makes no one start over.
 */
import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";

import { decodeEnvelope, markRedelivered } from "../../protocol/envelope.ts";
import { newId } from "../../shared/ids.ts";
import { asTexts } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { unackedKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { RedisContext } from "./context.ts";
import type { Router } from "./routing.ts";

const restoreScript = loadScript("restore-unacked");
const unlockScript = loadScript("unlock");

const AT_ONCE = 500;

export class KombuSweep {
  readonly #context: RedisContext;
  readonly #router: Router;

  constructor(context: RedisContext, router: Router) {
    this.#context = context;
    this.#router = router;
  }

  async sweep(connection: RedisConnection, visibilityTimeoutMs: number): Promise<number> {
    const { shard, options } = this.#context;
    const mutex = unackedKey(shard, options.unackedMutexKey);
    const token = newId();
    if ((await connection.command("SET", [mutex, token, "NX", "PX", options.unackedMutexExpireMs])) === null) return 0;
    try {
      const [seconds, micros] = asTexts(await connection.command("TIME", []));
      const until = Number(seconds) + Number(micros) / 1e6 - visibilityTimeoutMs / 1000;
      const index = unackedKey(shard, options.unackedIndexKey);
      const tags = asTexts(await connection.command("ZREVRANGEBYSCORE", [index, until, 0, "LIMIT", 0, AT_ONCE]));
      let returned = 0;
      for (const tag of tags) if (await this.#restore(connection, tag)) returned += 1;
      return returned;
    } finally {
      await connection.script(unlockScript, [mutex], [token]).catch(() => undefined); // it ends by itself in time
    }
  }

  async #restore(connection: RedisConnection, tag: string): Promise<boolean> {
    const { shard, options } = this.#context;
    const keys = [unackedKey(shard, options.unackedKey), unackedKey(shard, options.unackedIndexKey)];
    const stored = await connection.command("HGET", [keys[0] as string, tag]);
    const entry = Buffer.isBuffer(stored) && isUtf8(stored) ? parseEntry(stored.toString()) : undefined;
    if (Buffer.isBuffer(stored) && !entry) {
      this.#context.logger.error({ tag }, "a Python worker's loan cannot be read and is left where it is");
      return false;
    }
    const lists = entry ? await this.#router.listsOf(connection, entry.exchange, entry.routingKey, entry.priority) : [];
    const sha = createHash("sha1")
      .update(Buffer.isBuffer(stored) ? stored : "")
      .digest("hex");
    return (await connection.script(restoreScript, [...keys, ...lists], [tag, sha, entry?.envelope ?? ""])) === 1;
  }
}

interface Entry {
  /** Marked as delivered before; else as it was, to the last digit. */
  readonly envelope: string;
  readonly exchange: string;
  readonly routingKey: string;
  readonly priority: number;
}

/** `[envelope, exchange, routing key]` */
function parseEntry(text: string): Entry | undefined {
  try {
    const [, exchange, routingKey] = JSON.parse(text) as [unknown, unknown, unknown];
    if (typeof exchange !== "string" || typeof routingKey !== "string") return undefined;
    const start = text.indexOf("{");
    const envelope = text.slice(start, endOfObject(text, start));
    const { message } = decodeEnvelope(envelope);
    return { envelope: markRedelivered(envelope), exchange, routingKey, priority: message.properties.priority };
  } catch {
    return undefined;
  }
}

/** The index after the object that begins at `start`, of a text that is known to be JSON. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  let isInText = false;
  for (let i = start; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (isInText) {
      if (unit === 0x5c) i += 1;
      else if (unit === 0x22) isInText = false;
    } else if (unit === 0x22) isInText = true;
    else if (unit === 0x7b) depth += 1;
    else if (unit === 0x7d && --depth === 0) return i + 1;
  }
  return text.length;
}
