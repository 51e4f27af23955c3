/**
 * Fair queues as operators see them, and what keeps them right: a loan that ended without a word is counted, and what was sorted goes back
 * to its queue when nobody takes it fairly any more.
 */
import { fairKeyText, type FairKey } from "../../protocol/fair-key.ts";
import { newId } from "../../shared/ids.ts";
import { asList, asNumber, asPairs, asText, asTexts } from "../../stores/redis/answers.ts";
import type { Answer, RedisConnection } from "../../stores/redis/connection.ts";
import { type FairKeys, fairKeys, fairQueuesKey, listKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import {
  checkChange, DEFAULT_WEIGHT, FAIR_SETTINGS_MAX, FairChangeError, fairKeyOf, type FairChange, type Fairness, type FairPage, type FairPageOptions, type FairPause, type KeyState,
} from "../fairness.ts"; // prettier-ignore
import type { RedisContext } from "./context.ts";
import { asking } from "./failures.ts";
import { countEnds } from "./fair-ends.ts";

const setScript = loadScript("fair-set");
const releaseScript = loadScript("fair-release");
const purgeScript = loadScript("fair-purge");

/** Of one script: a millisecond or two of Redis. */
const PORTION = 500;
/** Loans of one queue are looked through by one worker every so often. */
const CHECK_EVERY_MS = 4000;
/** A queue that no worker has taken fairly for so long is taken otherwise, or not at all. Workers look every few seconds, also while they are busy. */
const FORSAKEN_MS = 60_000;

const DEFAULTS = "*";
const fieldOf = (key: FairKey): string => `=${key}`;

interface Rights {
  readonly weight: number;
  readonly limit: number | undefined;
  readonly paused: FairPause | undefined;
}

export class RedisFairness implements Fairness {
  readonly #context: RedisContext;

  constructor(context: RedisContext) {
    this.#context = context;
  }

  /** First the keys that have messages, then those that have only settings; a cursor says which, and where Redis's own cursor stands. */
  async page(queue: string, { limit, cursor }: FairPageOptions): Promise<FairPage> {
    const keys = fairKeys(this.#context.shard, queue);
    const from = cursor ?? "k0";
    const isOfSettings = from.startsWith("s");
    const hash = isOfSettings ? keys.settings : keys.keys;
    return await asking(this.#context, async (connection) => {
      const [scanned, defaultText, ...lengths] = await Promise.all([
        connection.command("HSCAN", [hash, from.slice(1), "COUNT", limit]),
        connection.command("HGET", [keys.settings, DEFAULTS]),
        ...this.#listsOf(queue).map(async (list) => await connection.command("LLEN", [list])),
      ]);
      const [next, entries] = asList(scanned);
      const pairs = asPairs(entries);
      const found = isOfSettings
        ? pairs.flatMap(([field]) => (field === DEFAULTS ? [] : [field.slice(1) as FairKey]))
        : pairs.map(([key]) => key as FairKey);
      const defaults = readRights(textOf(defaultText), { weight: DEFAULT_WEIGHT, limit: undefined, paused: undefined });
      const other = await many(connection, isOfSettings ? keys.keys : keys.settings, isOfSettings ? found : found.map(fieldOf));
      const states = found.flatMap((key, i): KeyState[] => {
        const [state, own] = isOfSettings ? [other[i], pairs.find(([field]) => field === fieldOf(key))?.[1]] : [pairs[i]?.[1], other[i]];
        if (isOfSettings && state !== undefined) return []; // told with those that have messages
        const { waiting, running } = readState(state);
        return [{ key: fairKeyText(key), waiting, running, ...readRights(own, defaults), isSet: own !== undefined }];
      });
      const at = asText(next);
      const following = at !== "0" ? `${from[0]}${at}` : isOfSettings ? undefined : "s0";
      const { weight, limit: most } = defaults;
      const unsorted = lengths.reduce<number>((sum, length) => sum + asNumber(length), 0);
      return { keys: states, cursor: following, unsorted, defaults: { weight, limit: most } };
    });
  }

  async set(queue: string, key: string | undefined, change: FairChange): Promise<void> {
    checkChange(key, change);
    const { weight, limit, paused } = change;
    const figure = (value: number | null | undefined): string | number => (value === undefined ? "" : (value ?? 0));
    const pause = paused === undefined ? "" : paused === null ? "0" : JSON.stringify(paused);
    const own = key === undefined ? undefined : fairKeyOf(key);
    await asking(this.#context, async (connection) => {
      const keys = fairKeys(this.#context.shard, queue);
      const names = [keys.settings, keys.keys, keys.ring, keys.bell];
      const args = [own === undefined ? DEFAULTS : fieldOf(own), figure(weight), figure(limit), pause, FAIR_SETTINGS_MAX];
      if (asNumber(await connection.script(setScript, names, [...args, ...(own === undefined ? [] : [own])])) === 0)
        throw new FairChangeError(`${FAIR_SETTINGS_MAX} keys of the queue ${queue} have settings of their own: no more can have`);
      if (own !== undefined) return;
      for await (const portion of scan(connection, keys.keys))
        await connection.script(setScript, names, ["", "", "", "", 0, ...portion.map(([each]) => each)]);
    });
  }

  async release(queue: string): Promise<number> {
    return await asking(this.#context, async (connection) => await this.#release(connection, queue, true));
  }

  async tidy(): Promise<boolean> {
    const { shard } = this.#context;
    return await asking(this.#context, async (connection) => {
      const queues = asPairs(await connection.command("ZRANGE", [fairQueuesKey(shard), 0, -1, "WITHSCORES"]));
      if (queues.length === 0) return false;
      const [seconds] = asTexts(await connection.command("TIME", []));
      for (const [queue, lookedAt] of queues) {
        const keys = fairKeys(shard, queue);
        if ((await connection.command("SET", [keys.check, newId(), "NX", "PX", CHECK_EVERY_MS])) === null) continue;
        await this.#check(connection, keys);
        if (Number(seconds) * 1000 - Number(lookedAt) < FORSAKEN_MS) continue;
        const moved = await this.#release(connection, queue, false);
        if (moved > 0)
          this.#context.logger.warn(
            { queue, messages: moved },
            "no worker takes this queue fairly any more: what was sorted by keys is back in it",
          );
        else if (asNumber(await connection.command("EXISTS", [keys.keys])) === 0)
          await connection.command("ZREM", [fairQueuesKey(shard), queue]);
      }
      return true;
    });
  }

  /** Messages that are sorted and wait. */
  async waiting(connection: RedisConnection, queue: string): Promise<number> {
    return asNumber(await connection.command("HLEN", [fairKeys(this.#context.shard, queue).sorted]));
  }

  async purge(connection: RedisConnection, queue: string): Promise<number> {
    const { sorted, keys, ring, bell, running } = fairKeys(this.#context.shard, queue);
    return asNumber(await connection.script(purgeScript, [sorted, keys, ring, bell, running], []));
  }

  /** Loans that ended without our hearing of it: their workers have them no more. */
  async #check(connection: RedisConnection, keys: FairKeys): Promise<void> {
    for await (const portion of scan(connection, keys.running)) {
      const byWorker = new Map<string, string[]>();
      for (const [loan, claim] of portion) {
        const worker = claim.slice(0, claim.indexOf("\n"));
        byWorker.set(worker, [...(byWorker.get(worker) ?? []), loan]);
      }
      for (const [worker, loans] of byWorker) await countEnds(this.#context, connection, worker, keys, loans);
    }
  }

  async #release(connection: RedisConnection, queue: string, alsoPaused: boolean): Promise<number> {
    const { sorted, keys, ring, bell, settings } = fairKeys(this.#context.shard, queue);
    const names = [sorted, keys, ring, bell, settings, ...this.#listsOf(queue)];
    let moved = 0;
    const all = async (some: readonly string[]): Promise<void> => {
      for (let last = PORTION; last === PORTION;) {
        last = asNumber(await connection.script(releaseScript, names, [PORTION, alsoPaused ? 1 : 0, ...some]));
        moved += last;
      }
    };
    await all([]);
    for await (const portion of scan(connection, keys)) {
      const left = portion.flatMap(([key, state]) => (readState(state).waiting > 0 ? [key as FairKey] : []));
      if (left.length > 0) await all(left);
    }
    return moved;
  }

  #listsOf(queue: string): readonly string[] {
    return this.#context.options.prioritySteps.map((step) => listKey(this.#context.shard, queue, step));
  }
}

async function* scan(connection: RedisConnection, hash: string): AsyncGenerator<[string, string][]> {
  let cursor = "0";
  do {
    const [next, entries] = asList(await connection.command("HSCAN", [hash, cursor, "COUNT", PORTION]));
    yield asPairs(entries);
    cursor = asText(next);
  } while (cursor !== "0");
}

async function many(connection: RedisConnection, hash: string, fields: readonly string[]): Promise<readonly (string | undefined)[]> {
  return fields.length === 0 ? [] : asList(await connection.command("HMGET", [hash, ...fields])).map(textOf);
}

const textOf = (answer: Answer): string | undefined => (answer === null ? undefined : asText(answer));

/** As `fair-reserve.lua` writes it. */
function readState(text: string | undefined): { waiting: number; running: number } {
  const [, running = 0, , ...places] = text === undefined ? [] : text.split(" ").map(Number);
  let waiting = 0;
  for (let i = 0; i + 1 < places.length; i += 2) waiting += (places[i + 1] as number) - (places[i] as number);
  return { waiting, running };
}

/** As `fair-set.lua` writes it. */
function readRights(written: string | undefined, defaults: Rights): Rights {
  if (written === undefined) return { ...defaults, paused: undefined };
  const [, weight, limit, isPaused, pause] = /^(\d+) (\d+) ([01])(?: (.*))?$/s.exec(written) ?? [];
  return {
    weight: Number(weight) > 0 ? Number(weight) : defaults.weight,
    limit: Number(limit) > 0 ? Number(limit) : defaults.limit,
    paused: isPaused === "1" ? (JSON.parse(pause ?? "{}") as FairPause) : undefined, // only `set` writes it
  };
}
