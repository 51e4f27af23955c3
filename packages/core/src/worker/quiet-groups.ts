/**
 * Looks after groups of which nothing has been heard for a while. A member whose outcome is known, but of which no part came, is
 * registered: one that was revoked while it waits, one whose worker died between two stores. A group of which there is no message any
 * more (purged, lost, never sent) is given up after `chordLostAfter`: it fails, and its error names the members that are missing.
 * Each look is bounded, and the longer a group is quiet the rarer they are.
 */
import { decodePart, encodePart } from "../canvas/chord-part.ts";
import type { Broker } from "../brokers/broker.ts";
import { WorkerLostError } from "../protocol/celery-errors.ts";
import { decompress } from "../protocol/compression.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import { toWireException, type WireException } from "../protocol/exception.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { decodeResult, encodeResult } from "../protocol/result.ts";
import { isReady } from "../protocol/states.ts";
import type { GroupPart, QuietGroup } from "../results/groups.ts";
import type { ResultBackend, ResultText, ResultWrite } from "../results/result-backend.ts";
import { countOf } from "../shared/count-of.ts";
import { type Clock, sleep } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";

export interface QuietGroupsDeps {
  readonly broker: Broker;
  readonly backend: ResultBackend;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly accept: ReadonlySet<string>;
  readonly resultSerializer: string;
  readonly resultExpiresMs: number | undefined;
  /** Where its members' messages may be. */
  readonly queues: readonly string[];
  readonly lostAfterMs: number;
  brokerNow(): number;
}

/** Groups of one look; and results, and members' dead letters, that are read for one of them. */
const GROUPS = 16;
const RESULTS = 1000;
const LETTERS = 20;
/** More messages than that are not looked through: then nothing is given up. */
const MESSAGES = 1_000_000;
/** A message that changes its place may be missed once. */
const LOOK_AGAIN_MS = 2000;
const NAMED = 10;

export class QuietGroups {
  readonly #deps: QuietGroupsDeps;

  constructor(deps: QuietGroupsDeps) {
    this.#deps = deps;
  }

  /** Answers with groups that are due now. Rejects when the store or the broker cannot be asked, or `signal` aborts. */
  async look(signal: AbortSignal): Promise<readonly string[]> {
    const { backend, lostAfterMs } = this.#deps;
    const due: string[] = [];
    const lost: { readonly group: QuietGroup; readonly missing: readonly string[] }[] = [];
    for (const group of await backend.groups.quiet(GROUPS)) {
      const missing = await this.#missing(group);
      if ((await this.#register(group, missing, signal)) || (await this.#registerBuried(group, missing, signal))) due.push(group.groupId);
      else if (group.quietMs >= lostAfterMs && !(await this.#hasEnded(group))) lost.push({ group, missing });
    }
    const gone = await this.#withoutMessages(new Set(lost.map(({ group }) => group.groupId)), signal);
    for (const { group, missing } of lost) if (gone.has(group.groupId) && (await this.#giveUp(group, missing))) due.push(group.groupId);
    return due;
  }

  /** By place; '' for one that is there. */
  async #missing({ groupId, members }: QuietGroup): Promise<readonly string[]> {
    if (members.length === 0) return [];
    const { parts } = await this.#deps.backend.groups.parts(groupId);
    const there = new Set(parts.map((part) => decodePart(part, this.#decoding).taskId));
    return members.map((id) => (there.has(id) ? "" : id));
  }

  /** Parts of those that have ended. Whether that completed the group. */
  async #register(group: QuietGroup, missing: readonly string[], signal: AbortSignal): Promise<boolean> {
    const { backend, logger } = this.#deps;
    const some = missing.flatMap((id, index) => (id === "" ? [] : [{ id, index }])).slice(0, RESULTS);
    if (some.length === 0) return false;
    const documents = await backend.fetch(some.map(({ id }) => id), { signal }); // prettier-ignore
    const parts = some.flatMap(({ id, index }, i) => this.#partOf(group, id, index, documents[i]));
    if (parts.length === 0 || (group.counted === 0 && (await this.#hasEnded(group)))) return false;
    logger.info(
      { groupId: group.groupId, members: parts.length },
      `${countOf(parts.length, "member")} of a chord had ended without a word to it`,
    );
    return (await backend.groups.addParts(parts, { signal })).includes(true);
  }

  #partOf(
    { groupId, rootId, priority, body }: QuietGroup,
    taskId: string,
    index: number,
    document: ResultText | undefined,
  ): readonly GroupPart[] {
    if (document === undefined) return [];
    const { state, result, error } = decodeResult(document, this.#decoding);
    if (!isReady(state)) return [];
    const { resultSerializer, resultExpiresMs: expiresMs } = this.#deps;
    const part = encodePart({ taskId, state, result, error }, resultSerializer);
    return [{ groupId, taskId, index, part, result: undefined, expiresMs, rootId: rootId || taskId, priority, body }];
  }

  /**
   * It has ended before, and was begun anew by a worker that did not know of it, or a member reported once more: nothing must come of
   * that. Then its body has a result, or nobody has said how many it waits for.
   */
  async #hasEnded({ groupId, body, expected }: QuietGroup): Promise<boolean> {
    const { backend } = this.#deps;
    const ids = [...body.matchAll(/"task_id": ?"([^"]+)"/g)].map(([, id]) => id as string).slice(0, RESULTS);
    const documents = expected === undefined || ids.length === 0 ? [] : await backend.fetch(ids);
    if (expected !== undefined && documents.every((document) => document === undefined)) return false;
    await backend.groups.end([groupId]);
    return true;
  }

  /** What a sweep has found lost too often it buries without a word: it knows no results. */
  async #registerBuried(group: QuietGroup, missing: readonly string[], signal: AbortSignal): Promise<boolean> {
    const { broker, backend, queues, resultSerializer } = this.#deps;
    const { groupId, rootId, priority, body } = group;
    const parts: GroupPart[] = [];
    const some = missing.flatMap((taskId, index) => (taskId === "" ? [] : [{ taskId, index }])).slice(0, LETTERS);
    for (const { taskId, index } of some) {
      const letters = await Promise.all(queues.map(async (queue) => await broker.deadLetters?.get(queue, taskId)));
      const letter = letters.find((each) => each !== undefined);
      if (letter === undefined) continue;
      const error = toWireException(new WorkerLostError(letter.error));
      const part = encodePart({ taskId, state: "FAILURE", result: undefined, error }, resultSerializer);
      const result = this.#failure(taskId, groupId, rootId, error);
      parts.push({ groupId, taskId, index, part, result, expiresMs: result.expiresMs, rootId: rootId || taskId, priority, body });
    }
    return parts.length > 0 && (await backend.groups.addParts(parts, { signal })).includes(true);
  }

  /** Those that no message speaks of, in its headers or in what follows from it. */
  async #withoutMessages(groupIds: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlySet<string>> {
    let left = new Set(groupIds);
    for (let look = 0; look < 2 && left.size > 0; look++) {
      if (look > 0) await sleep(this.#deps.clock, LOOK_AGAIN_MS, signal);
      left = await this.#unmentioned(left, signal);
    }
    return left;
  }

  async #unmentioned(groupIds: ReadonlySet<string>, signal: AbortSignal): Promise<Set<string>> {
    const { broker, queues } = this.#deps;
    if (broker.search === undefined) return new Set();
    const left = new Set(groupIds);
    let looked = 0;
    for await (const page of broker.search.messages({ queues, limit: MESSAGES, signal })) {
      looked += page.length;
      for (const { raw } of page) {
        const text = textOf(raw);
        if (text === undefined) return new Set(); // it may speak of any
        for (const groupId of left) if (text.includes(groupId)) left.delete(groupId);
      }
      if (left.size === 0) break;
    }
    return looked >= MESSAGES ? new Set() : left;
  }

  async #giveUp({ groupId, quietMs, counted, expected, rootId }: QuietGroup, missing: readonly string[]): Promise<boolean> {
    const { backend, logger } = this.#deps;
    const ids = missing.filter((id) => id !== "");
    const count = ids.length > 0 ? ids.length : (expected ?? counted + 1) - counted;
    const more = count - NAMED;
    const who = ids.length === 0 ? `${count} of its members` : ids.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
    const reason = `nothing was heard of ${who} for ${Math.round(quietMs / 1000)} s, and there is no message of theirs any more`;
    if (!(await backend.groups.giveUp(groupId, reason))) return false;
    logger.error({ groupId, missing: ids.slice(0, NAMED) }, `the chord of group ${groupId} cannot be completed and fails: ${reason}`);
    const error = toWireException(new WorkerLostError("its message is nowhere any more"));
    for (let from = 0; from < ids.length; from += RESULTS)
      await backend.store(ids.slice(from, from + RESULTS).map((id) => this.#failure(id, groupId, rootId, error)));
    return true;
  }

  #failure(taskId: string, groupId: string, rootId: string, error: WireException): ResultWrite {
    const { resultSerializer: serializer, resultExpiresMs: expiresMs } = this.#deps;
    const facts = { taskId, groupId, parentId: rootId || undefined, children: [], traceback: null, dateDoneAt: this.#deps.brokerNow() };
    const document = encodeResult({ ...facts, state: "FAILURE", result: undefined, error }, { serializer });
    return { taskId, state: "FAILURE", document, expiresMs };
  }

  get #decoding(): { readonly accept: ReadonlySet<string>; readonly serializer: string } {
    return { accept: this.#deps.accept, serializer: this.#deps.resultSerializer };
  }
}

/** All that an envelope says. undefined: what it says cannot be read here. */
function textOf(raw: string | Uint8Array): string | undefined {
  const text = typeof raw === "string" ? raw : Buffer.from(raw).toString("latin1");
  try {
    const { message } = decodeEnvelope(raw);
    const { compression } = message.headers;
    const { maxBytes } = DEFAULT_LIMITS;
    const body = typeof compression === "string" ? decompress(message.body, compression, maxBytes) : message.body;
    return `${text}\n${Buffer.from(body).toString("latin1")}`;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return error.problem === "malformed" ? text : undefined;
  }
}
