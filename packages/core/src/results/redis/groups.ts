/** Groups in Celery's keys (celery-protocol 7.5): any member may be run, and any chord be completed, by workers of either language. */
import { asList, asNumber, asTexts } from "../../stores/redis/answers.ts";
import type { Answer, Argument, RedisConnection } from "../../stores/redis/connection.ts";
import { dueGroupsKey, groupKey, groupKeys, openGroupsKey, resultKey } from "../../stores/redis/keys.ts";
import { partArguments, secondsToLive as seconds } from "../../stores/redis/part-arguments.ts";
import { loadScript, type RedisScript } from "../../stores/redis/scripts.ts";
import {
  DUE_MS, type DueGroup, type GroupLook, type GroupPart, type Groups, type GroupSizeWrite, QUIET, type QuietGroup,
} from "../groups.ts"; // prettier-ignore
import type { ResultText } from "../result-backend.ts";

const addPart = loadScript("add-part");
const claimDue = loadScript("claim-due");
const reopenGroup = loadScript("reopen-group");
const endGroup = loadScript("end-group");
const beginGroup = loadScript("begin-group");
const lookAtGroup = loadScript("look-at-group");
const giveUpGroup = loadScript("give-up-group");

const PAGE = 1000;
/** Scripts on their way at once. */
const BATCH = 128;

/** Does what can be repeated until it is answered. */
export type Persist = (signal: AbortSignal | undefined, act: (connection: RedisConnection) => Promise<Answer>) => Promise<Answer>;

export class RedisGroups implements Groups {
  readonly #prefix: string;
  #dueCursor = "0";
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
        sizes.slice(from, from + BATCH).map(async ({ groupId, size, expiresMs, members = [], body = "" }) => {
          const [, , sizeKey, notes] = groupKeys(this.#prefix, groupId);
          const keys = [openGroupsKey(this.#prefix), sizeKey, notes];
          await this.#script(beginGroup, keys, [groupId, size, seconds(expiresMs), body, members.join("\n")]);
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

  async #addPart(part: GroupPart, signal: AbortSignal | undefined): Promise<boolean> {
    const { result } = part;
    const keys = [dueGroupsKey(this.#prefix), openGroupsKey(this.#prefix), ...groupKeys(this.#prefix, part.groupId)];
    const args = partArguments(part);
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

  async look(groupId: string, first: number, count: number): Promise<GroupLook | undefined> {
    const [parts, added, size, notes] = groupKeys(this.#prefix, groupId);
    const [page, counted, [expected, more], body] = await Promise.all([
      this.#command("ZRANGE", [parts, first, first + count - 1, "WITHSCORES"]),
      this.#command("ZCARD", [parts]),
      this.#command("MGET", [size, added]).then(asList),
      this.#command("HGET", [notes, "body"]),
    ]);
    if (asNumber(counted) === 0 && expected === null) return undefined;
    const list = asList(page);
    return {
      expected: expected === null ? undefined : asNumber(expected) + Number(more ?? 0),
      counted: asNumber(counted),
      parts: Array.from({ length: list.length / 2 }, (_, i) => {
        const place = asNumber(list[2 * i + 1]);
        const part = list[2 * i] as Buffer; // as `addParts` wrote it
        return { place: Number.isFinite(place) ? place : undefined, part: part[0] === OPENING_BRACKET ? part.toString() : part };
      }),
      body: Buffer.isBuffer(body) ? body.toString() : "",
    };
  }

  async due(groupId: string): Promise<DueGroup | undefined> {
    const record = await this.#command("HGET", [dueGroupsKey(this.#prefix), groupId]);
    if (!Buffer.isBuffer(record)) return undefined;
    const [, memberId = "", rootId = "", priority] = record.toString().split("\n");
    const [body, lost] = asList(await this.#command("HMGET", [groupKeys(this.#prefix, groupId)[3], "body", "lost"]));
    return {
      memberId,
      rootId,
      priority: Number(priority ?? 0),
      body: Buffer.isBuffer(body) ? body.toString() : "",
      ...(Buffer.isBuffer(lost) && { lost: lost.toString() }),
    };
  }

  async claimDue(limit: number): Promise<readonly string[]> {
    const args = [this.#dueCursor, limit, DUE_MS.claimed];
    const [cursor = "0", ...groupIds] = asTexts(await this.#script(claimDue, [dueGroupsKey(this.#prefix)], args));
    this.#dueCursor = cursor;
    return groupIds;
  }

  async reopen(groupId: string, surplus: readonly ResultText[]): Promise<boolean> {
    const keys = [dueGroupsKey(this.#prefix), ...groupKeys(this.#prefix, groupId).slice(0, 3)];
    let isOpen = false;
    for (let from = 0; from === 0 || from < surplus.length; from += PAGE)
      isOpen = asNumber(await this.#script(reopenGroup, keys, [groupId, ...surplus.slice(from, from + PAGE)])) === 1;
    return isOpen;
  }

  async end(groupIds: readonly string[]): Promise<readonly boolean[]> {
    return await Promise.all(
      groupIds.map(async (groupId) => {
        const keys = [dueGroupsKey(this.#prefix), openGroupsKey(this.#prefix), this.#key(groupId), ...groupKeys(this.#prefix, groupId)];
        return asNumber(await this.#script(endGroup, keys, [groupId])) === 1;
      }),
    );
  }

  async quiet(limit: number, firstMs = QUIET.firstMs): Promise<readonly QuietGroup[]> {
    const open = openGroupsKey(this.#prefix);
    const now = asNumber(asList(await this.#command("TIME", []))[0]) * 1000;
    const groupIds = asTexts(await this.#command("ZRANGEBYSCORE", [open, "-inf", now, "LIMIT", 0, limit]));
    const looks = groupIds.map(async (groupId): Promise<QuietGroup | undefined> => {
      const keys = [open, dueGroupsKey(this.#prefix), ...groupKeys(this.#prefix, groupId)];
      const [quietMs, counted, expected, members = "", body = "", heading = ""] = asTexts(
        await this.#script(lookAtGroup, keys, [groupId, firstMs, QUIET.lastMs]),
      );
      if (quietMs === undefined) return undefined;
      const [rootId = "", priority] = heading.split("\n");
      return {
        groupId,
        quietMs: Number(quietMs),
        counted: Number(counted),
        expected: expected === "-1" ? undefined : Number(expected),
        members: members === "" ? [] : members.split("\n"),
        body,
        rootId,
        priority: Number(priority ?? 0),
      };
    });
    return (await Promise.all(looks)).filter((look) => look !== undefined);
  }

  async giveUp(groupId: string, reason: string): Promise<boolean> {
    const keys = [dueGroupsKey(this.#prefix), groupKeys(this.#prefix, groupId)[3]];
    return asNumber(await this.#script(giveUpGroup, keys, [groupId, reason])) === 1;
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

  #script(script: RedisScript, keys: readonly string[], args: readonly Argument[]): Promise<Answer> {
    return this.#persist(undefined, async (connection) => await connection.script(script, keys, args));
  }

  #command(name: string, args: readonly Argument[]): Promise<Answer> {
    return this.#persist(undefined, async (connection) => await connection.command(name, args));
  }
}

const OPENING_BRACKET = 0x5b;
