/** Publishes callbacks of batches that are due: publish-due.lua does it once, however often and by however many it is asked. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import type { DueCallback } from "../../results/batches.ts";
import { sleep } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { asNumber } from "../../stores/redis/answers.ts";
import type { Argument } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import { batchDueKey, dueMember, listKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { DueCallbacks, Outgoing, PublishDueOptions } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { brokerError } from "./failures.ts";
import type { Route, Router } from "./routing.ts";

const publishDueScript = loadScript("publish-due");
const RETRY_PAUSE_MS = 500;

export class RedisDueCallbacks implements DueCallbacks {
  readonly #context: RedisContext;
  readonly #router: Router;

  constructor(context: RedisContext, router: Router) {
    this.#context = context;
    this.#router = router;
  }

  async publish(due: DueCallback, messages: readonly Outgoing[], { backend, home, signal }: PublishDueOptions): Promise<boolean> {
    const results = backend.sharedStore as SharedRedis; // the caller has asked `settlesWith`
    for (;;) {
      try {
        const connection = await this.#context.commands.connection(signal);
        const routes = await this.#router.routes(connection, messages);
        const { keys, args } = this.#call(due, messages, routes, results, home);
        return asNumber(await connection.script(publishDueScript, keys, args)) === 1;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof RedisGoneError) continue; // had it been executed, it is not due the next time
        if (!(error instanceof RedisAnswerError) || !error.transient) throw brokerError(this.#context.location, error);
        await sleep(this.#context.clock, RETRY_PAUSE_MS * (0.5 + this.#context.random()), signal);
      }
    }
  }

  #call(due: DueCallback, messages: readonly Outgoing[], routes: readonly Route[], results: SharedRedis, home: string) {
    const { db, shard, logger } = this.#context;
    const keys = [batchDueKey(results.prefix)];
    const args: Argument[] = [dueMember(due), db, results.db === db ? "" : results.db, 0];
    let count = 0;
    for (const [i, { message, exchange, routingKey }] of messages.entries()) {
      const envelope = encodeEnvelope(message, { exchange, routingKey }, newId());
      let route = routes[i];
      if (route === undefined || route.kind === "nowhere") {
        logger.warn({ exchange, routingKey, queue: home }, "no queue is bound for the callback of a batch: it goes to this worker's queue");
        route = { kind: "lists", lists: [listKey(shard, home, 0)] };
      }
      if (route.kind === "channel") args.push(0, route.channel, envelope);
      else for (const list of route.lists) args.push(keys.includes(list) ? keys.indexOf(list) + 1 : keys.push(list), envelope);
      count += route.kind === "channel" ? 1 : route.lists.length;
    }
    args[3] = count;
    return { keys, args };
  }
}
