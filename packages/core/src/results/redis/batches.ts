/** Batches in Redis: a hash and a string of bits for each, and two sorted sets for all. */
import { asList, asNumber, asPairs, asText, asTexts } from "../../stores/redis/answers.ts";
import type { Answer, Argument } from "../../stores/redis/connection.ts";
import {
  batchAddsKey,
  batchChildrenKey,
  batchDueKey,
  batchesWaitingKey,
  batchKey,
  batchStatesKey,
  dueMember,
} from "../../stores/redis/keys.ts";
import { loadScript, type RedisScript } from "../../stores/redis/scripts.ts";
import {
  BATCH_EVENTS,
  type Batches,
  type BatchEvent,
  type BatchRecord,
  type DueCallback,
  type MemberEnd,
  MEMBER_STATES,
  type MemberState,
  type NewBatch,
  type Reservation,
  type Reserved,
} from "../batches.ts";
import type { Persist } from "./groups.ts";

const beginScript = loadScript("batch-begin");
const reserveScript = loadScript("batch-reserve");
const confirmScript = loadScript("batch-confirm");
const reportScript = loadScript("batch-report");
const quietScript = loadScript("batch-quiet");

/** Members in one script: it takes about a microsecond for each. */
const ENDS = 1000;
const PAGE = 1000;
const PLACES_PER_BYTE = 4;
const FIELDS = [
  "document",
  "parent",
  "place",
  "total",
  "succeeded",
  "failed",
  "dead",
  "withdrawn",
  "created",
  "sealed",
  "completed",
  "succeededAt",
  "died",
  "cancelled",
] as const;

export class RedisBatches implements Batches {
  readonly #prefix: string;
  readonly #persist: Persist;

  constructor(prefix: string, persist: Persist) {
    this.#prefix = prefix;
    this.#persist = persist;
  }

  async begin({ id, document, callbacks, parentId, expiresMs }: NewBatch): Promise<boolean> {
    // The events of a child are due in any case: its parent is told of them.
    const events = (parentId === undefined ? callbacks : BATCH_EVENTS).join(" ");
    const place = parentId === undefined ? undefined : await this.#placeOfChild(parentId, id);
    if (parentId !== undefined && place === undefined) return false;
    await this.#script(beginScript, [batchKey(this.#prefix, id)], [document, events, lifeOf(expiresMs), parentId ?? "", place ?? ""]);
    if (parentId !== undefined) await this.confirm(parentId, childAdder(id), 0);
    return true;
  }

  async #placeOfChild(parentId: string, id: string): Promise<number | undefined> {
    const known = await this.#command("HGET", [batchKey(this.#prefix, id), "place"]);
    if (known !== null) return asNumber(known);
    return (await this.#reserve(parentId, { adder: childAdder(id), sequence: 0, count: 1 }, id))?.first;
  }

  async reserve(id: string, places: Reservation): Promise<Reserved | undefined> {
    return await this.#reserve(id, places, "");
  }

  async #reserve(id: string, { adder, sequence, count }: Reservation, child: string): Promise<Reserved | undefined> {
    const keys = [batchKey(this.#prefix, id), batchAddsKey(this.#prefix, id), batchChildrenKey(this.#prefix, id)];
    const answer = await this.#script(reserveScript, keys, [adder, sequence, count, child]);
    if (answer === null) return undefined;
    const [first, published] = asList(answer);
    return { first: asNumber(first), isPublished: published === 1 };
  }

  async confirm(id: string, adder: string, sequence: number): Promise<void> {
    await this.#script(confirmScript, [batchAddsKey(this.#prefix, id)], [adder, sequence]);
  }

  async withdraw(id: string, { adder, sequence }: Omit<Reservation, "count">, withdrawn: readonly number[]): Promise<void> {
    const places = withdrawn.map((place): MemberEnd => ({ place, state: "succeeded" }));
    await this.#report(id, `withdraw ${adder}:${sequence}`, places);
  }

  async seal(id: string): Promise<boolean> {
    return (await this.#report(id, "seal", [])) !== undefined;
  }

  async die(id: string): Promise<boolean> {
    return ((await this.#report(id, "die", [])) ?? 0) > 0;
  }

  async cancel(id: string): Promise<boolean> {
    return (await this.#report(id, "cancel", [])) !== undefined;
  }

  async report(id: string, ends: readonly MemberEnd[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    let due = 0;
    for (let from = 0; from < ends.length; from += ENDS) due += (await this.#report(id, "", ends.slice(from, from + ENDS), signal)) ?? 0;
    return due > 0;
  }

  /** How many callbacks have become due; undefined when there is no such batch. */
  async #report(id: string, order: string, ends: readonly MemberEnd[], signal?: AbortSignal): Promise<number | undefined> {
    const prefix = this.#prefix;
    const keys = [
      batchKey(prefix, id),
      batchStatesKey(prefix, id),
      batchAddsKey(prefix, id),
      batchDueKey(prefix),
      batchesWaitingKey(prefix),
    ];
    const args = [id, order, ...ends.flatMap(({ place, state }) => [place, MEMBER_STATES.indexOf(state)])];
    const due = await this.#script(reportScript, keys, args, signal);
    return due === null ? undefined : asNumber(due);
  }

  async read(ids: readonly string[]): Promise<readonly (BatchRecord | undefined)[]> {
    return await Promise.all(
      ids.map(async (id) => recordOf(id, asList(await this.#command("HMGET", [batchKey(this.#prefix, id), ...FIELDS])))),
    );
  }

  async states(id: string, first: number, count: number): Promise<readonly MemberState[]> {
    const from = Math.floor(first / PLACES_PER_BYTE);
    const to = Math.floor((first + count - 1) / PLACES_PER_BYTE);
    const [places, bytes] = await Promise.all([
      this.#command("HGET", [batchKey(this.#prefix, id), "total"]),
      this.#command("GETRANGE", [batchStatesKey(this.#prefix, id), from, to]),
    ]);
    const end = Math.min(first + count, places === null ? 0 : asNumber(places));
    const bits = Buffer.isBuffer(bytes) ? bytes : Buffer.alloc(0);
    const states: MemberState[] = [];
    for (let place = first; place < end; place++) {
      const byte = bits[Math.floor(place / PLACES_PER_BYTE) - from] ?? 0;
      states.push(MEMBER_STATES[(byte >> (6 - 2 * (place % PLACES_PER_BYTE))) & 3] as MemberState);
    }
    return states;
  }

  async children(id: string, first: number, count: number): Promise<readonly { readonly place: number; readonly id: string }[]> {
    const all = await this.#hash(batchChildrenKey(this.#prefix, id));
    return Array.from(all, ([place, child]) => ({ place: Number(place), id: child }))
      .filter(({ place }) => place >= first)
      .toSorted((a, b) => a.place - b.place)
      .slice(0, count);
  }

  async unconfirmed(id: string): Promise<readonly { readonly first: number; readonly count: number }[]> {
    const all = await this.#hash(batchAddsKey(this.#prefix, id));
    return [...all.values()].flatMap((text) => {
      const [first, count, confirmed] = text.split(" ");
      return count === undefined || confirmed !== undefined ? [] : [{ first: Number(first), count: Number(count) }];
    });
  }

  async due({ limit, minAgeMs }: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly DueCallback[]> {
    const oldest = asPairs(await this.#command("ZRANGE", [batchDueKey(this.#prefix), 0, limit - 1, "WITHSCORES"]));
    if (oldest.length === 0) return [];
    const [seconds, micros] = asTexts(await this.#command("TIME", []));
    const before = Number(seconds) * 1000 + Number(micros) / 1000 - minAgeMs;
    return oldest.filter(([, since]) => Number(since) <= before).map(([member]) => dueOf(member));
  }

  async done(due: DueCallback): Promise<boolean> {
    return asNumber(await this.#command("ZREM", [batchDueKey(this.#prefix), dueMember(due)])) === 1;
  }

  async quiet({ limit, minAgeMs }: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly string[]> {
    return asTexts(await this.#script(quietScript, [batchesWaitingKey(this.#prefix)], [minAgeMs, limit]));
  }

  async forget(id: string): Promise<void> {
    const prefix = this.#prefix;
    await this.#command("UNLINK", [
      batchKey(prefix, id),
      batchStatesKey(prefix, id),
      batchAddsKey(prefix, id),
      batchChildrenKey(prefix, id),
    ]);
    await this.#command("ZREM", [batchDueKey(prefix), ...BATCH_EVENTS.map((event) => dueMember({ id, event }))]);
    await this.#command("ZREM", [batchesWaitingKey(prefix), id]);
  }

  /** In portions: there may be many. */
  async #hash(key: string): Promise<ReadonlyMap<string, string>> {
    const all = new Map<string, string>();
    for (let cursor = "0"; ;) {
      const [next, page] = asList(await this.#command("HSCAN", [key, cursor, "COUNT", PAGE]));
      for (const [name, value] of asPairs(page)) all.set(name, value);
      cursor = asText(next);
      if (cursor === "0") return all;
    }
  }

  #script(script: RedisScript, keys: readonly string[], args: readonly Argument[], signal?: AbortSignal): Promise<Answer> {
    return this.#persist(signal, async (connection) => await connection.script(script, keys, args));
  }

  #command(name: string, args: readonly Argument[]): Promise<Answer> {
    return this.#persist(undefined, async (connection) => await connection.command(name, args));
  }
}

function dueOf(member: string): DueCallback {
  const space = member.indexOf(" ");
  return { event: member.slice(0, space) as BatchEvent, id: member.slice(space + 1) }; // written by batch-report.lua, which knows no other events
}

const childAdder = (id: string): string => `-child ${id}`;
const lifeOf = (expiresMs: number): number => Math.max(1000, Math.ceil(expiresMs));

function recordOf(id: string, answers: readonly Answer[]): BatchRecord | undefined {
  const text = (name: (typeof FIELDS)[number]): string | undefined => {
    const answer = answers[FIELDS.indexOf(name)];
    return Buffer.isBuffer(answer) ? answer.toString() : undefined;
  };
  const number = (name: (typeof FIELDS)[number]): number | undefined => {
    const value = text(name);
    return value === undefined ? undefined : Number(value);
  };
  const document = text("document");
  if (document === undefined) return undefined;
  const places = number("total") ?? 0;
  return {
    id,
    document,
    parentId: text("parent"),
    place: number("place"),
    total: places - (number("withdrawn") ?? 0),
    succeeded: number("succeeded") ?? 0,
    failed: number("failed") ?? 0,
    dead: number("dead") ?? 0,
    places,
    createdAt: number("created") ?? 0,
    sealedAt: number("sealed"),
    completedAt: number("completed"),
    succeededAt: number("succeededAt"),
    diedAt: number("died"),
    cancelledAt: number("cancelled"),
  };
}
