/** Messages parked until they are due, by Redis's clock: any worker returns what is due, whichever queues it consumes. */
import { asList, asNumber, asPairs, asText, asTexts } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { dueKey, listKey, parkedKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { DelayedQueue } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { asking } from "./failures.ts";
import type { RedisLimits } from "./limits.ts";

const unparkScript = loadScript("unpark");

/** Of one script: short enough to let others in between. */
const PORTION = 128;
const QUEUES_AT_ONCE = 64;

export class RedisDelayed implements DelayedQueue {
  readonly #context: RedisContext;
  readonly #limits: Pick<RedisLimits, "flush">;

  constructor(context: RedisContext, limits: Pick<RedisLimits, "flush">) {
    this.#context = context;
    this.#limits = limits;
  }

  async unpark(): Promise<{ readonly moved: number; readonly nextDueAt: number | undefined }> {
    const { shard } = this.#context;
    return await asking(this.#context, async (connection) => {
      // An idle worker asks this every few seconds, so it is one command.
      const first = await this.#nextDueAt(connection);
      if (first === undefined) return { moved: 0, nextDueAt: undefined };
      const [seconds, micros] = asTexts(await connection.command("TIME", []));
      const now = Math.floor(Number(seconds) * 1000 + Number(micros) / 1000);
      if (first > now) return { moved: 0, nextDueAt: first };
      const due = asTexts(await connection.command("ZRANGEBYSCORE", [dueKey(shard), "-inf", now, "LIMIT", 0, QUEUES_AT_ONCE]));
      let moved = 0;
      for (const queue of due) moved += await this.#unparkQueue(connection, queue, false);
      return { moved, nextDueAt: await this.#nextDueAt(connection) };
    });
  }

  async flush(queue?: string): Promise<number> {
    const waiting = await this.#limits.flush(queue);
    return await asking(this.#context, async (connection) => {
      const queues = queue === undefined ? asTexts(await connection.command("ZRANGE", [dueKey(this.#context.shard), 0, -1])) : [queue];
      let moved = waiting;
      for (const each of queues) moved += await this.#unparkQueue(connection, each, true);
      return moved;
    });
  }

  async #nextDueAt(connection: RedisConnection): Promise<number | undefined> {
    const [first] = asPairs(await connection.command("ZRANGE", [dueKey(this.#context.shard), 0, 0, "WITHSCORES"]));
    return first === undefined ? undefined : Number(first[1]);
  }

  async #unparkQueue(connection: RedisConnection, queue: string, whateverItsTime: boolean): Promise<number> {
    const { shard, options } = this.#context;
    const lists = options.prioritySteps.map((step) => listKey(shard, queue, step));
    let moved = 0;
    for (;;) {
      const answer = asList(
        await connection.script(
          unparkScript,
          [parkedKey(shard, queue), dueKey(shard), ...lists],
          [queue, PORTION, whateverItsTime ? "1" : ""],
        ),
      );
      moved += asNumber(answer[0]);
      if (asNumber(answer[1]) === 0 || asText(answer[0]) === "0") return moved;
    }
  }
}
