/** Groups in Celery's keys (celery-protocol 7.5): any member may be run, and any chord be completed, by workers of either language. */
import { asList, asNumber } from "../../stores/redis/answers.ts";
import type { Answer, Argument, RedisConnection } from "../../stores/redis/connection.ts";
import { completedKey, groupKey, resultKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { GroupPart, Groups, GroupSizeWrite, ResultText } from "../result-backend.ts";

const addPart = loadScript("add-part");

const PAGE = 1000;
/** Scripts on their way at once. */
const BATCH = 128;

/** Does what can be repeated until it is answered. */
export type Persist = (signal: AbortSignal | undefined, act: (connection: RedisConnection) => Promise<Answer>) => Promise<Answer>;

export class RedisGroups implements Groups {
  readonly #prefix: string;
  readonly #persist: Persist;
  readonly #asDocument: (answer: Answer | undefined) => ResultText | undefined;

  constructor(prefix: string, persist: Persist, asDocument: (answer: Answer | undefined) => ResultText | undefined) {
    this.#prefix = prefix;
    this.#persist = persist;
    this.#asDocument = asDocument;
  }

  async begin(sizes: readonly GroupSizeWrite[]): Promise<void> {
    for (let from = 0; from < sizes.length; from += BATCH) {
      await Promise.all(
        sizes.slice(from, from + BATCH).map(async ({ groupId, size, expiresMs }) => {
          await this.#set(`${this.#key(groupId)}.s`, String(size), expiresMs);
        }),
      );
    }
  }

  /** After a broken connection nobody knows whether it was done, and it is done again: a group then waits for one that never comes, and its results expire. */
  async extend(groupId: string, count: number, expiresMs: number | undefined): Promise<void> {
    const key = `${this.#key(groupId)}.t`;
    await this.#command("INCRBY", [key, count]);
    if (expiresMs !== undefined) await this.#command("EXPIRE", [key, seconds(expiresMs)]);
  }

  async addParts(parts: readonly GroupPart[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<readonly boolean[]> {
    const answers: boolean[] = [];
    for (let from = 0; from < parts.length; from += BATCH) {
      const some = parts.slice(from, from + BATCH);
      answers.push(...(await Promise.all(some.map(async (part) => await this.#addPart(part, signal)))));
    }
    return answers;
  }

  async #addPart({ groupId, taskId, index, part, result, expiresMs }: GroupPart, signal: AbortSignal | undefined): Promise<boolean> {
    const key = this.#key(groupId);
    const keys = [`${key}.j`, `${key}.t`, `${key}.s`, completedKey(this.#prefix, groupId)];
    const args: Argument[] = [taskId, index ?? "+inf", part, seconds(expiresMs)];
    if (result !== undefined) {
      keys.push(resultKey(this.#prefix, result.taskId));
      args.push(seconds(result.expiresMs), result.document);
    }
    return asNumber(await this.#persist(signal, async (connection) => await connection.script(addPart, keys, args))) === 1;
  }

  async parts(groupId: string): Promise<{ readonly parts: readonly ResultText[]; readonly expected: number }> {
    const key = this.#key(groupId);
    const parts: ResultText[] = [];
    for (let from = 0; ; from += PAGE) {
      const page = asList(await this.#command("ZRANGE", [`${key}.j`, from, from + PAGE - 1]));
      for (const each of page) if (Buffer.isBuffer(each)) parts.push(each[0] === OPENING_BRACKET ? each.toString() : each);
      if (page.length < PAGE) break;
    }
    const [size, added] = asList(await this.#command("MGET", [`${key}.s`, `${key}.t`]));
    return { parts, expected: Number(size ?? 0) + Number(added ?? 0) };
  }

  async reopen(groupId: string): Promise<void> {
    await this.#command("DEL", [completedKey(this.#prefix, groupId)]);
  }

  async end(groupIds: readonly string[]): Promise<void> {
    const keys = groupIds.flatMap((groupId) => [
      ...["", ".j", ".t", ".s"].map((end) => this.#key(groupId) + end),
      completedKey(this.#prefix, groupId),
    ]);
    if (keys.length > 0) await this.#command("UNLINK", keys);
  }

  async save(groupId: string, document: ResultText, expiresMs: number | undefined): Promise<void> {
    await this.#set(this.#key(groupId), document, expiresMs);
  }

  async restore(groupId: string): Promise<ResultText | undefined> {
    return this.#asDocument(await this.#command("GET", [this.#key(groupId)]));
  }

  async forget(groupIds: readonly string[]): Promise<void> {
    if (groupIds.length > 0) await this.#command("DEL", groupIds.map((groupId) => this.#key(groupId))); // prettier-ignore
  }

  #key(groupId: string): string {
    return groupKey(this.#prefix, groupId);
  }

  async #set(key: string, value: ResultText, expiresMs: number | undefined): Promise<void> {
    await (expiresMs === undefined ? this.#command("SET", [key, value]) : this.#command("SETEX", [key, seconds(expiresMs), value]));
  }

  #command(name: string, args: readonly Argument[]): Promise<Answer> {
    return this.#persist(undefined, async (connection) => await connection.command(name, args));
  }
}

const OPENING_BRACKET = 0x5b;

/** 0: for ever. */
function seconds(expiresMs: number | undefined): number {
  return expiresMs === undefined || expiresMs <= 0 ? 0 : Math.max(1, Math.ceil(expiresMs / 1000));
}
