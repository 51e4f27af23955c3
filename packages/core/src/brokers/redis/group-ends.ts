/** Ends groups that are due: finish-group.lua does it once, however often and by however many it is asked. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { sleep } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { asTexts } from "../../stores/redis/answers.ts";
import type { Argument, RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import { dueGroupsKey, groupKey, groupKeys, listKey, openGroupsKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { FinishOptions, GroupEnd, GroupEndAnswer, GroupEnds } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { brokerError } from "./failures.ts";
import { type Follow, FollowCall } from "./follow-call.ts";
import type { Router } from "./routing.ts";

const finishScript = loadScript("finish-group");
const RETRY_PAUSE_MS = 500;

export class RedisGroupEnds implements GroupEnds {
  readonly #context: RedisContext;
  readonly #router: Router;

  constructor(context: RedisContext, router: Router) {
    this.#context = context;
    this.#router = router;
  }

  async finish(end: GroupEnd, { backend, signal = new AbortController().signal }: FinishOptions): Promise<GroupEndAnswer> {
    const results = backend.sharedStore as SharedRedis; // the caller has asked `settlesWith`
    for (;;) {
      try {
        const connection = await this.#context.commands.connection(signal);
        const { keys, args } = this.#call(end, await this.#follows(connection, end), results);
        const [isThere, ...completed] = asTexts(await connection.script(finishScript, keys, args));
        return isThere === undefined ? { kind: "gone" } : { kind: "ended", completed };
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof RedisGoneError) continue; // had it been executed, it is gone the next time
        if (!(error instanceof RedisAnswerError) || !error.transient) throw brokerError(this.#context.location, error);
        await sleep(this.#context.clock, RETRY_PAUSE_MS * (0.5 + this.#context.random() / 2), signal);
      }
    }
  }

  #call({ groupId, ...follow }: GroupEnd, follows: readonly Follow[], results: SharedRedis): { keys: string[]; args: Argument[] } {
    const { db } = this.#context;
    const lists = [...new Set(follows.flatMap(({ route }) => (route.kind === "lists" ? route.lists : [])))];
    const { prefix } = results;
    const keys = [dueGroupsKey(prefix), openGroupsKey(prefix), groupKey(prefix, groupId), ...groupKeys(prefix, groupId), ...lists];
    const args: Argument[] = [groupId, db, results.db === db ? "" : results.db, lists.length];
    const call = new FollowCall(keys, args, results);
    call.addResults(follow.results, follow.parts);
    call.addPartsInFull(follow.parts);
    call.addMessages(follows, (list) => 8 + lists.indexOf(list));
    return call;
  }

  async #follows(connection: RedisConnection, { publish, home }: GroupEnd): Promise<readonly Follow[]> {
    const { shard, logger } = this.#context;
    const routes = await this.#router.routes(connection, publish);
    return publish.map(({ message, exchange, routingKey }, i) => {
      let route = routes[i];
      if (route === undefined || route.kind === "nowhere") {
        logger.warn({ exchange, routingKey, queue: home }, "no queue is bound for this message: it goes to this worker's queue");
        route = { kind: "lists", lists: [listKey(shard, home, 0)] };
      }
      return { route, envelope: encodeEnvelope(message, { exchange, routingKey }, newId()) };
    });
  }
}
