/** What is in queues, wherever it waits: counted, and discarded. */
import { asNumber } from "../../stores/redis/answers.ts";
import { deadIndexKey, dueKey, limitLineKey, limitTurnsKey, listKey, parkedKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { QueueDepth } from "../broker.ts";
import { BrokerOutOfMemoryError } from "../errors.ts";
import type { RedisAggregates } from "./aggregates.ts";
import type { RedisContext } from "./context.ts";
import { asking, askingAgain } from "./failures.ts";
import type { RedisFairness } from "./fairness.ts";

const purgeScript = loadScript("purge");

/** Queues whose depth an error tells. */
const DEPTHS_MAX = 16;

export class QueueContents {
  readonly #context: RedisContext;
  readonly #fairness: RedisFairness;
  readonly #aggregates: RedisAggregates;

  constructor(context: RedisContext, fairness: RedisFairness, aggregates: RedisAggregates) {
    this.#context = context;
    this.#fairness = fairness;
    this.#aggregates = aggregates;
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    const { shard } = this.#context;
    return await askingAgain(
      this.#context,
      async (connection) =>
        await Promise.all(
          queues.map(async (queue) => {
            const [sorted, folded, parked, waiting, dead, ...ready] = await Promise.all([
              this.#fairness.waiting(connection, queue),
              this.#aggregates.waiting(connection, queue),
              connection.command("ZCARD", [parkedKey(shard, queue)]),
              connection.command("ZCARD", [limitLineKey(shard, queue)]),
              connection.command("ZCARD", [deadIndexKey(shard, queue)]),
              ...this.#listsOf(queue).map(async (list) => await connection.command("LLEN", [list])),
            ]);
            return {
              queue,
              ready: ready.reduce<number>((sum, length) => sum + asNumber(length), sorted),
              parked: asNumber(parked) + asNumber(waiting) + folded,
              dead: asNumber(dead),
            };
          }),
        ),
    );
  }

  /** Not in one step: what comes meanwhile may stay. */
  async purge(queue: string): Promise<number> {
    const { shard } = this.#context;
    const keys = [parkedKey(shard, queue), dueKey(shard), limitLineKey(shard, queue), limitTurnsKey(shard, queue), ...this.#listsOf(queue)];
    return await asking(this.#context, async (connection) => {
      const sorted = await this.#fairness.purge(connection, queue);
      const folded = await this.#aggregates.purge(connection, queue);
      return sorted + folded + asNumber(await connection.script(purgeScript, keys, [queue]));
    });
  }

  /** The error for messages of these queues that a full Redis refuses. */
  async outOfMemory(queues: ReadonlySet<string>, cause: unknown): Promise<BrokerOutOfMemoryError> {
    const depths = await this.depth([...queues].slice(0, DEPTHS_MAX)).catch(() => []); // it is the refusal that counts
    return new BrokerOutOfMemoryError(this.#context.location, depths, cause);
  }

  #listsOf(queue: string): readonly string[] {
    return this.#context.options.prioritySteps.map((step) => listKey(this.#context.shard, queue, step));
  }
}
