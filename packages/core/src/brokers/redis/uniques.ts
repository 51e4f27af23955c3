/** Locks of unique tasks in Redis: each is a hash that ends by itself, and each call one script. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { quote } from "../../protocol/json.ts";
import { readUniqueMode, type UniqueRule } from "../../protocol/unique.ts";
import { sleep } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { asList, asText, asTexts } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGoneError } from "../../stores/redis/errors.ts";
import { dueKey, listKey, parkedKey, uniqueKey, uniquesKey, workersKey } from "../../stores/redis/keys.ts";
import { replicated } from "../../stores/redis/replicas.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { Outgoing, PublishOptions } from "../broker.ts";
import { BrokerRefusedError } from "../errors.ts";
import { oneQueueOnly, type UniqueAnswer, type UniqueLock, type Uniques, type UniqueStep } from "../uniques.ts";
import type { RedisContext } from "./context.ts";
import { asking, brokerError } from "./failures.ts";
import type { Router } from "./routing.ts";
import { queueOf } from "./take-back.ts";

const publishScript = loadScript("unique-publish");
const stepScript = loadScript("unique-step");

const RETRY_PAUSE_MS = 200;
/** Locks that are read, or stepped, on one way to Redis. */
const PORTION = 500;
/** A call that replaces what was parked elsewhere meanwhile begins anew, so often. */
const TRIES = 10;

export class RedisUniques implements Uniques {
  readonly #context: RedisContext;
  readonly #router: Router;

  constructor(context: RedisContext, router: Router) {
    this.#context = context;
    this.#router = router;
  }

  async publish(outgoing: Outgoing, { signal }: PublishOptions = {}): Promise<UniqueAnswer> {
    const { location, clock, random, commands, replicas } = this.#context;
    const { message, exchange, routingKey } = outgoing;
    const envelope = encodeEnvelope(message, { exchange, routingKey }, newId());
    for (;;) {
      try {
        const connection = await commands.connection(signal ?? AbortSignal.timeout(30_000));
        const answer = await this.#publish(connection, outgoing, envelope);
        if (replicas) await replicated(connection, replicas);
        return answer;
      } catch (error) {
        signal?.throwIfAborted();
        // What was sent may be sent again: had it been executed, it finds its own lock.
        const isPassing = error instanceof RedisGoneError || (error instanceof RedisAnswerError && error.transient);
        if (!isPassing || signal === undefined) throw error instanceof BrokerRefusedError ? error : brokerError(location, error);
        await sleep(clock, RETRY_PAUSE_MS * (0.5 + random()), signal);
      }
    }
  }

  async step(steps: readonly UniqueStep[]): Promise<void> {
    if (steps.length === 0) return;
    await asking(this.#context, async (connection) => {
      for (let from = 0; from < steps.length; from += PORTION)
        await Promise.all(steps.slice(from, from + PORTION).map(async (step) => await this.#step(connection, step)));
    });
  }

  async #step(connection: RedisConnection, { name, taskId, queue, what }: UniqueStep): Promise<void> {
    const value = what.kind === "keep" ? what.ttlMs : what.kind === "own" ? what.worker : "";
    await connection.script(stepScript, this.#keys(name, queue), [name, taskId, what.kind, value, queue]);
  }

  async list({ limit, queue }: { readonly limit: number; readonly queue?: string | undefined }): Promise<readonly UniqueLock[]> {
    return await asking(this.#context, async (connection) => {
      const locks: UniqueLock[] = [];
      for (let from = 0; locks.length < limit; from += PORTION) {
        const names = asTexts(await connection.command("ZRANGE", [uniquesKey(this.#context.shard), from, from + PORTION - 1]));
        const found = await Promise.all(names.map(async (name) => await this.#read(connection, name)));
        locks.push(...found.filter((lock) => lock !== undefined).filter((lock) => queue === undefined || lock.queue === queue));
        if (names.length < PORTION) break;
      }
      return locks.slice(0, limit);
    });
  }

  async break(name: string): Promise<string | undefined> {
    return await asking(this.#context, async (connection) => {
      const lock = await this.#read(connection, name);
      if (lock === undefined) return undefined;
      const held = asText(await connection.script(stepScript, this.#keys(name, lock.queue), [name, "", "free", "", lock.queue]));
      return held === "" ? undefined : held;
    });
  }

  async #publish(connection: RedisConnection, outgoing: Outgoing, envelope: string): Promise<UniqueAnswer> {
    const { location, shard } = this.#context;
    const { message, unique } = outgoing;
    const { name, mode, ttlMs, waitMs, maxWaitMs } = unique as UniqueRule; // the caller has looked
    const [route] = await this.#router.routes(connection, [outgoing]);
    const lists = route?.kind === "lists" ? route.lists : [];
    let [list] = lists;
    if (list === undefined || lists.length > 1) throw new BrokerRefusedError(location, oneQueueOnly(lists.length));
    let queue = queueOf(this.#context, list);
    const id = String(message.headers["id"]);
    for (let tries = 0; tries < TRIES; tries++) {
      const keys = [...this.#keys(name, queue, list), workersKey(shard)];
      const args = [name, id, mode, ttlMs, waitMs, maxWaitMs, queue, envelope, quote(id)];
      const [told, first, second] = asList(await connection.script(publishScript, keys, args));
      if (told !== 2) return { id: asText(first), isDuplicate: told === 0 };
      const suffix: string = list.slice(shard.prefix.length + queue.length);
      queue = asText(first);
      list = asText(second) || shard.prefix + queue + suffix;
    }
    throw new BrokerRefusedError(location, `the lock ${name} moves from queue to queue`, { transient: true });
  }

  async #read(connection: RedisConnection, name: string): Promise<UniqueLock | undefined> {
    const fields = ["id", "mode", "queue", "since", "until", "next", "worker"];
    const answer = asList(await connection.command("HMGET", [uniqueKey(this.#context.shard, name), ...fields]));
    const [taskId, mode, queue, since, until, next, worker] = answer.map((value) => (value === null ? undefined : asText(value)));
    if (taskId === undefined || queue === undefined) return undefined;
    return { name, mode: readUniqueMode(mode), taskId, queue, since: Number(since), until: Number(until), nextTaskId: next, worker };
  }

  #keys(name: string, queue: string, list = listKey(this.#context.shard, queue, 0)): readonly string[] {
    const { shard } = this.#context;
    return [...uniqueStepKeys(shard, name, queue, list).slice(0, 3), dueKey(shard), list];
  }
}

/** Lock, locks, parked, list: as settle.lua takes them. */
export function uniqueStepKeys(shard: RedisContext["shard"], name: string, queue: string, list: string): readonly string[] {
  return [uniqueKey(shard, name), uniquesKey(shard), parkedKey(shard, queue), list];
}
