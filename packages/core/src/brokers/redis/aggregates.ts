/** Groups as lists, with a sorted set that says when each is due. A list is there as long as it holds something. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { newId } from "../../shared/ids.ts";
import { asList, asNumber, asText, asTexts } from "../../stores/redis/answers.ts";
import type { Answer, Argument, RedisConnection } from "../../stores/redis/connection.ts";
import { aggregatedKey, aggregateKey, aggregatesKey, listKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { Aggregates, DueGroups, Fold } from "../aggregates.ts";
import type { Outgoing } from "../broker.ts";
import type { Envelope } from "../envelope-edits.ts";
import type { RedisContext } from "./context.ts";
import { RedisDelivery } from "./delivery.ts";
import { tellEnds } from "./fair-ends.ts";
import { askingAgain } from "./failures.ts";
import type { WorkerSession } from "./session.ts";

const foldScript = loadScript("fold");
const publishScript = loadScript("publish-group");
const purgeScript = loadScript("purge-groups");

/** Loans in one script: short enough to let others in between. */
const PORTION = 250;

export class RedisAggregates implements Aggregates {
  readonly #context: RedisContext;
  readonly #holderOf: (delivery: RedisDelivery) => WorkerSession | undefined;

  constructor(context: RedisContext, holderOf: (delivery: RedisDelivery) => WorkerSession | undefined) {
    this.#context = context;
    this.#holderOf = holderOf;
  }

  async fold(folds: readonly Fold[]): Promise<readonly (number | "lost")[]> {
    const answers: (number | "lost")[] = folds.map(() => "lost");
    const bySession = new Map<WorkerSession, number[]>();
    for (const [i, { delivery }] of folds.entries()) {
      const session = delivery instanceof RedisDelivery ? this.#holderOf(delivery) : undefined;
      if (session) bySession.set(session, [...(bySession.get(session) ?? []), i]);
    }
    for (const [session, positions] of bySession) {
      for (let from = 0; from < positions.length; from += PORTION) {
        const portion = positions.slice(from, from + PORTION);
        const counts = await this.#send(session, portion.map((i) => folds[i] as Fold)); // prettier-ignore
        for (const [at, i] of portion.entries()) answers[i] = counts[at] || "lost";
      }
    }
    return answers;
  }

  /** Messages in groups of a queue. */
  async waiting(connection: RedisConnection, queue: string): Promise<number> {
    return Number((await connection.command("HGET", [aggregatedKey(this.#context.shard, queue), "@"])) ?? 0);
  }

  /** Discards what the groups of a queue hold. Returns how many messages that were. */
  async purge(connection: RedisConnection, queue: string): Promise<number> {
    const { shard } = this.#context;
    const key = aggregatedKey(shard, queue);
    let purged = 0;
    for await (const groups of groupsOf(key, async (name, args) => await connection.command(name, args))) {
      const keys = [aggregatesKey(shard), key, ...groups.map((group) => aggregateKey(shard, group))];
      purged += asNumber(await connection.script(purgeScript, keys, groups));
    }
    return purged;
  }

  async #send(session: WorkerSession, folds: readonly Fold[]): Promise<readonly number[]> {
    const { shard } = this.#context;
    const keys = [
      session.loansKey,
      aggregatesKey(shard),
      ...folds.flatMap(({ group, delivery }) => [aggregateKey(shard, group), aggregatedKey(shard, delivery.queue)]),
    ];
    const args = folds.flatMap(({ delivery, group, dueAt }) => [delivery.loan, group, Math.round(dueAt)]);
    const deliveries = folds.map(({ delivery }) => delivery as RedisDelivery); // `fold` has looked
    return await askingAgain(this.#context, async (connection) => {
      const answer = await connection.script(foldScript, keys, args);
      for (const delivery of deliveries) session.forget(delivery);
      if (session.isFair) tellEnds(this.#context, connection, session.worker, deliveries);
      return asList(answer).map(asNumber);
    });
  }

  async due(now: number, limit: number): Promise<DueGroups> {
    const key = aggregatesKey(this.#context.shard);
    return await askingAgain(this.#context, async (connection) => {
      const [due, next] = await Promise.all([
        connection.command("ZRANGEBYSCORE", [key, "-inf", Math.floor(now), "LIMIT", 0, limit]),
        connection.command("ZRANGEBYSCORE", [key, `(${Math.floor(now)}`, "+inf", "WITHSCORES", "LIMIT", 0, 1]),
      ]);
      const score = asList(next)[1];
      return { groups: asList(due).map(asText), nextDueAt: score === undefined ? undefined : Number(asText(score)) };
    });
  }

  async first(group: string, limit: number): Promise<readonly Envelope[]> {
    const key = aggregateKey(this.#context.shard, group);
    return await askingAgain(this.#context, async (connection) =>
      asList(await connection.command("LRANGE", [key, 0, limit - 1])).map((each) => each as Buffer),
    );
  }

  async publish(group: string, taken: readonly Envelope[], { message, exchange, routingKey }: Outgoing): Promise<boolean> {
    const { shard } = this.#context;
    const [first, last] = [taken[0], taken.at(-1)];
    if (first === undefined || last === undefined) return false;
    const keys = [aggregateKey(shard, group), aggregatesKey(shard), listKey(shard, routingKey, 0), aggregatedKey(shard, routingKey)];
    const envelope = encodeEnvelope(message, { exchange, routingKey }, newId());
    const args = [group, taken.length, first, last, envelope];
    return await askingAgain(this.#context, async (connection) => (await connection.script(publishScript, keys, args)) === 1);
  }
}

/** The groups that hold anything, in portions. @param key of a queue's groups */
export async function* groupsOf(
  key: string,
  command: (name: string, args: readonly Argument[]) => Promise<Answer>,
): AsyncGenerator<readonly string[], void, undefined> {
  let cursor = "0";
  do {
    const [next, page] = asList(await command("HSCAN", [key, cursor, "COUNT", PORTION]));
    const groups = asTexts(page).flatMap((field, i) => (i % 2 === 0 && field.startsWith("=") ? [field.slice(1)] : []));
    if (groups.length > 0) yield groups;
    cursor = asText(next);
  } while (cursor !== "0");
}
