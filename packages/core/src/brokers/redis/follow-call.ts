/**
 * What follows from a settlement or from the end of a group (results, parts of groups, messages) as keys and arguments of a script.
 * Keys that occur again are given once, and so are the bodies of chords, which are the same for all members.
 */
import type { GroupPart } from "../../results/groups.ts";
import type { ResultWrite } from "../../results/result-backend.ts";
import type { Argument } from "../../stores/redis/connection.ts";
import { dueGroupsKey, groupKeys, openGroupsKey } from "../../stores/redis/keys.ts";
import { partArguments, secondsToLive } from "../../stores/redis/part-arguments.ts";
import type { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { UniqueStep } from "../uniques.ts";
import type { Route } from "./routing.ts";

export interface Follow {
  readonly route: Route;
  readonly envelope: string;
}

export interface LockStep {
  readonly step: UniqueStep;
  readonly keys: readonly string[];
}

export class FollowCall {
  readonly keys: string[];
  readonly args: Argument[];
  readonly #results: SharedRedis | undefined;
  readonly #groups = new Map<string, number>();
  readonly #bodies = new Map<string, number>();
  #due: number | undefined;

  /** What `keys` and `args` hold already stays in front. */
  constructor(keys: string[], args: Argument[], results: SharedRedis | undefined) {
    this.keys = keys;
    this.args = args;
    this.#results = results;
  }

  addResults(results: readonly ResultWrite[], parts: readonly GroupPart[]): void {
    const { keys, args } = this;
    const at = args.push(0) - 1;
    let count = 0;
    const add = ({ taskId, expiresMs, document }: ResultWrite): void => {
      count += 1;
      args.push(keys.push(this.#shared.keyOf(taskId)), secondsToLive(expiresMs), document);
    };
    for (const result of results) add(result);
    for (const { result } of parts) if (result !== undefined) add(result);
    args[at] = count;
  }

  /** As `settle.lua` takes them: the keys of what is due and what is open behind their number, and bodies told once. */
  addParts(parts: readonly GroupPart[]): void {
    const { args } = this;
    args.push(parts.length);
    if (parts.length === 0) return;
    const { prefix } = this.#shared;
    this.#due ??= this.keys.push(dueGroupsKey(prefix), openGroupsKey(prefix)) - 1;
    args.push(this.#due, this.#due + 1);
    for (const part of parts) {
      const known = this.#bodies.get(part.body);
      args.push(this.#keysOf(part.groupId), ...partArguments(part, known === undefined ? part.body : `=${known}`));
      if (known === undefined && part.body !== "") this.#bodies.set(part.body, args.length);
    }
  }

  /** As `finish-group.lua` takes them. */
  addPartsInFull(parts: readonly GroupPart[]): void {
    this.args.push(parts.length);
    for (const part of parts) this.args.push(this.#keysOf(part.groupId), ...partArguments(part));
  }

  /**
   * @param at index of a list's key
   * @param lock what becomes of a lock, with the keys of that: only settle.lua takes it
   */
  addMessages(follows: readonly Follow[], at: (list: string) => number, lock?: LockStep): void {
    const { args } = this;
    let messages = lock === undefined ? 0 : 1;
    for (const { route } of follows) messages += route.kind === "lists" ? route.lists.length : 1;
    args.push(messages);
    for (const { route, envelope } of follows) {
      if (route.kind === "lists") for (const list of route.lists) args.push(at(list), envelope);
      else if (route.kind === "channel") args.push(0, route.channel, envelope);
    }
    if (lock !== undefined) {
      const { name, taskId, queue, what } = lock.step;
      args.push(
        "u",
        this.keys.length + 1,
        name,
        taskId,
        what.kind,
        what.kind === "keep" ? what.ttlMs : what.kind === "own" ? what.worker : "",
        queue,
      );
      this.keys.push(...lock.keys);
    }
  }

  /** The first of the group's keys. */
  #keysOf(groupId: string): number {
    const known = this.#groups.get(groupId);
    if (known !== undefined) return known;
    const first = this.keys.length + 1;
    this.keys.push(...groupKeys(this.#shared.prefix, groupId));
    this.#groups.set(groupId, first);
    return first;
  }

  /** A caller that gives results gives their backend. */
  get #shared(): SharedRedis {
    return this.#results as SharedRedis;
  }
}
