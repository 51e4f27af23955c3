/**
 * Celery's results in Redis: one key for each task, and a channel of the same name (celery-protocol.md, section 6.2).
 * Two connections for a process, whatever it waits for: one for commands, and one for all watches from the first on.
 */
import { type Clock, type Random, sleep } from "../../shared/clock.ts";
import { asList, asNumber } from "../../stores/redis/answers.ts";
import type { Answer, Argument, RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisClosedError, RedisGoneError, RedisRefusedError } from "../../stores/redis/errors.ts";
import { resultKey } from "../../stores/redis/keys.ts";
import { abortable, type LinkOptions, type RedisLink } from "../../stores/redis/link.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { RedisTarget } from "../../stores/redis/target.ts";
import { BackendRefusedError, BackendUnavailableError } from "../errors.ts";
import type { ResultBackend, ResultText, ResultWrite } from "../result-backend.ts";
import { RedisBatches } from "./batches.ts";
import { RedisGroups } from "./groups.ts";
import { Watches } from "./watches.ts";

const storeScript = loadScript("store-results");

const BATCH = 256;
const BATCH_BYTES = 4 * 1024 * 1024;
/** What Redis takes as one value at most, by default and in Celery. */
const DOCUMENT_BYTES_MAX = 512 * 1024 * 1024;
const RETRY_PAUSE_MS = 200;
const OPENING_BRACE = 0x7b;

export class RedisBackend implements ResultBackend {
  readonly kind = "redis";
  readonly location: string;
  readonly sharedStore: SharedRedis;
  readonly groups: RedisGroups;
  readonly batches: RedisBatches;
  readonly #prefix: string;
  readonly #commands: RedisLink;
  readonly #watches: Watches;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #deadlineMs: number;
  readonly #closeShared: () => void;

  constructor(
    target: RedisTarget,
    prefix: string,
    newLink: (purpose: string, options?: Omit<LinkOptions, "purpose">) => RedisLink,
    time: { readonly clock: Clock; readonly random: Random },
    deadlineMs: number,
    closeShared: () => void,
  ) {
    this.location = target.location;
    this.#prefix = prefix;
    this.#clock = time.clock;
    this.#random = time.random;
    this.#deadlineMs = deadlineMs;
    this.#closeShared = closeShared;
    this.sharedStore = new SharedRedis(target, prefix);
    this.#commands = newLink("results");
    this.groups = new RedisGroups(prefix, (signal, act) => this.#persist(signal, act), asDocument);
    this.batches = new RedisBatches(prefix, (signal, act) => this.#persist(signal, act));
    const read = async (keys: readonly string[], over?: RedisConnection): Promise<readonly (ResultText | undefined)[]> =>
      over ? asList(await over.command("MGET", keys)).map(asDocument) : await this.#read(keys, undefined);
    this.#watches = new Watches(read, this.#clock, (onOpen) => newLink("wait for results", { onOpen, eager: true }));
  }

  async store(writes: readonly ResultWrite[], options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const tooLarge = writes.find(({ document }) => Buffer.byteLength(document) > DOCUMENT_BYTES_MAX);
    if (tooLarge) throw new BackendRefusedError(this.location, `the result of task ${tooLarge.taskId} is larger than 512 MiB`);
    await Promise.all(
      batches(writes).map(async (batch) => {
        const keys = batch.map(({ taskId }) => this.#key(taskId));
        const args = batch.flatMap<Argument>(({ expiresMs, document }) => [secondsToLive(expiresMs), document]);
        // Repeated after a dropped connection: the same document again changes nothing.
        await this.#persist(options.signal, async (connection) => await connection.script(storeScript, keys, args));
      }),
    );
  }

  async fetch(taskIds: readonly string[], options: { readonly signal?: AbortSignal } = {}): Promise<readonly (ResultText | undefined)[]> {
    return await this.#read(
      taskIds.map((taskId) => this.#key(taskId)),
      options.signal,
    );
  }

  async watch(taskId: string, onDocument: (document: ResultText) => void): Promise<Disposable> {
    try {
      return await this.#watches.watch(this.#key(taskId), onDocument);
    } catch (error) {
      throw this.#translate(error);
    }
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    for (let from = 0; from < taskIds.length; from += BATCH) {
      const keys = taskIds.slice(from, from + BATCH).map((taskId) => this.#key(taskId));
      await this.#persist(undefined, async (connection) => asNumber(await connection.command("DEL", keys)));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watches.close();
    this.#commands.close();
    this.#closeShared();
  }

  #key(taskId: string): string {
    return resultKey(this.#prefix, taskId);
  }

  async #read(keys: readonly string[], signal: AbortSignal | undefined): Promise<readonly (ResultText | undefined)[]> {
    const documents: (ResultText | undefined)[] = [];
    for (let from = 0; from < keys.length; from += BATCH) {
      const portion = keys.slice(from, from + BATCH);
      documents.push(
        ...asList(await this.#persist(signal, async (connection) => await connection.command("MGET", portion))).map(asDocument),
      );
    }
    return documents;
  }

  /** Does what can be repeated until it is answered, or the deadline passes, or the signal aborts. */
  async #persist(signal: AbortSignal | undefined, act: (connection: RedisConnection) => Promise<Answer>): Promise<Answer> {
    const late = new AbortController();
    const timer = this.#clock.timer(this.#deadlineMs, () => late.abort());
    const both = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
    let last: unknown;
    try {
      for (;;) {
        try {
          const connection = await this.#commands.connection(both);
          return await abortable(act(connection), both);
        } catch (error) {
          signal?.throwIfAborted();
          if (late.signal.aborted) this.#commands.current?.destroy(); // what did not answer for so long will not
          if (late.signal.aborted) throw new BackendUnavailableError(this.location, last ?? this.#commands.lastFailure ?? error);
          last = error;
          const passes = error instanceof RedisGoneError || (error instanceof RedisAnswerError && error.transient && error.word !== "OOM");
          if (!passes) throw this.#translate(error);
          if (error instanceof RedisAnswerError)
            await sleep(this.#clock, RETRY_PAUSE_MS * (0.5 + this.#random()), both).catch(() => undefined);
        }
      }
    } finally {
      timer.cancel();
    }
  }

  #translate(error: unknown): unknown {
    if (error instanceof RedisGoneError || error instanceof RedisClosedError) return new BackendUnavailableError(this.location, error);
    if (error instanceof RedisAnswerError)
      return new BackendRefusedError(this.location, error.message, { transient: error.transient, cause: error });
    if (error instanceof RedisRefusedError) return new BackendRefusedError(this.location, error.message, { cause: error });
    return error;
  }
}

/** 0: for ever. */
function secondsToLive(expiresMs: number | undefined): number {
  return expiresMs === undefined || expiresMs <= 0 ? 0 : Math.max(1, Math.ceil(expiresMs / 1000));
}

/** JSON is text; what does not begin as JSON does is some other serializer's bytes. */
export function asDocument(answer: Answer | undefined): ResultText | undefined {
  if (!Buffer.isBuffer(answer)) return undefined;
  return answer[0] === OPENING_BRACE ? answer.toString() : answer;
}

function batches(writes: readonly ResultWrite[]): readonly (readonly ResultWrite[])[] {
  const all: ResultWrite[][] = [];
  let bytes = 0;
  for (const write of writes) {
    const last = all.at(-1);
    bytes += write.document.length;
    if (last && last.length < BATCH && bytes <= BATCH_BYTES) {
      last.push(write);
    } else {
      all.push([write]);
      bytes = write.document.length;
    }
  }
  return all;
}
