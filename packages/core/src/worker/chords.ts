/**
 * Ends groups that are complete: the body is called with the results of the header, or fails with it. The part that completes
 * a group leaves a record that it is due (`results/groups.ts`); here the body is built and published, in one step with the
 * removal of that record where broker and results are one store, else before it. Whoever completed a group ends it at once;
 * what a crash left is claimed by some worker's look seconds later.
 */
import { decodePart, memberError, type ChordPart } from "../canvas/chord-part.ts";
import { type ResultTuple } from "../canvas/result-tuple.ts";
import { decodeGroup, encodeGroup } from "../canvas/saved-group.ts";
import { readSignature } from "../canvas/signature-data.ts";
import type { GroupEndAnswer } from "../brokers/broker.ts";
import { ChordError } from "../protocol/celery-errors.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { toWireException } from "../protocol/exception.ts";
import { decodeJson } from "../protocol/json.ts";
import { decodeResult } from "../protocol/result.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { DueGroup } from "../results/groups.ts";
import type { ResultBackend, ResultText } from "../results/result-backend.ts";
import { sleep } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import { FollowUps, type FollowUpDeps, isTransient } from "./follow-ups.ts";
import type { QuietGroups } from "./quiet-groups.ts";
import { StepDraft, type WorkflowRules, type WorkflowStep } from "./workflow.ts";

export interface ChordDeps extends FollowUpDeps {
  readonly backend: ResultBackend;
  readonly rules: WorkflowRules;
  readonly accept: ReadonlySet<string>;
  /** A queue of this worker: for messages that no queue is bound for. */
  readonly home: string;
  /** Looks after groups that nothing is heard of. */
  readonly quiet: QuietGroups;
  /** ms since 1970, by the broker's clock. */
  brokerNow(): number;
}

/** How often one looks for what others left, about. */
const LOOK_EVERY_MS = 1500;
const CLAIMED_AT_ONCE = 16;
/** Looks for what is due between two for what is quiet. */
const LOOKS_PER_QUIET = 4;

export class Chords {
  readonly #deps: ChordDeps;
  readonly #abort = new AbortController();
  readonly #followUps: FollowUps;
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(deps: ChordDeps) {
    this.#deps = deps;
    this.#followUps = new FollowUps(deps, this.#abort.signal);
  }

  /** Looks for what others left, until it is abandoned. Never rejects. */
  async watch(): Promise<void> {
    const { backend, quiet, clock, random, logger } = this.#deps;
    const { signal } = this.#abort;
    let failures = 0;
    for (let looks = 1; !signal.aborted; looks++) {
      await sleep(clock, LOOK_EVERY_MS * (0.75 + random() / 2), signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        for (const groupId of await backend.groups.claimDue(CLAIMED_AT_ONCE)) this.finish(groupId);
        if (looks % LOOKS_PER_QUIET === 0) for (const groupId of await quiet.look(signal)) this.finish(groupId);
        failures = 0;
      } catch (error) {
        if (failures++ === 0 && !signal.aborted) logger.warn({ err: error }, `cannot look for chords that are due: ${errorText(error)}`);
      }
    }
  }

  /** What must be known of groups before their first member is sent. May be repeated. */
  async begin({ sizes, nested }: Pick<WorkflowStep, "sizes" | "nested">): Promise<void> {
    const { backend, rules } = this.#deps;
    const expiresMs = rules.resultExpiresMs;
    if (sizes.length > 0) await backend.groups.begin(sizes.map((size) => ({ ...size, expiresMs })));
    for (const tuple of nested) await backend.groups.save(tuple[0][0], encodeGroup(tuple, rules.resultSerializer), expiresMs);
  }

  /** Ends it if it is due. Goes on in the background; what fails is left to a later look. */
  finish(groupId: string): void {
    if (this.#underWay.has(groupId) || this.#abort.signal.aborted) return;
    const finishing = this.#finish(groupId)
      .catch((error: unknown) => {
        if (!this.#abort.signal.aborted)
          this.#deps.logger.error({ err: error, groupId }, `a chord could not be ended, trying again later: ${errorText(error)}`);
      })
      .finally(() => this.#underWay.delete(groupId));
    this.#underWay.set(groupId, finishing);
  }

  async whenIdle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay.values());
  }

  abandon(): void {
    this.#abort.abort(new Error("the worker has stopped"));
  }

  async #finish(groupId: string): Promise<void> {
    const { backend } = this.#deps;
    const due = await this.#followUps.persist("read what is due", () => backend.groups.due(groupId));
    if (due === undefined) return;
    const draft = await this.#followUps.persist("read the parts of a chord", async () => await this.#draftOrFailure(groupId, due));
    if (draft === undefined) return;
    try {
      this.#ended(await this.#end(groupId, draft));
    } catch (error) {
      if (isTransient(error)) throw error;
      this.#ended(await this.#end(groupId, this.#failed(groupId, due, error)));
    }
  }

  #ended(answer: GroupEndAnswer): void {
    if (answer.kind === "ended") for (const around of answer.completed) this.finish(around);
  }

  async #end(groupId: string, draft: StepDraft): Promise<GroupEndAnswer> {
    const { broker, backend, home } = this.#deps;
    const { signal } = this.#abort;
    const { publish, results, parts } = draft;
    await this.#followUps.persist("begin a group", () => this.begin(draft));
    if (broker.groupEnds && broker.settlesWith(backend))
      return await broker.groupEnds.finish({ groupId, home, publish, results, parts }, { backend, signal });
    await this.#followUps.store(results);
    const completed = await this.#followUps.persist("register parts of groups", () => backend.groups.addParts(parts, { signal }));
    await this.#followUps.publish(publish.map((outgoing) => ({ outgoing, home })));
    await this.#followUps.persist("end a group", () => backend.groups.end([groupId]));
    return { kind: "ended", completed: parts.filter((_, i) => completed[i]).map((part) => part.groupId) };
  }

  /** What cannot be read will not be readable later either: nobody must wait for it. */
  async #draftOrFailure(groupId: string, due: DueGroup): Promise<StepDraft | undefined> {
    try {
      return await this.#draft(groupId, due);
    } catch (error) {
      if (error instanceof Unreadable) return this.#failed(groupId, due, error);
      throw error;
    }
  }

  #failed(groupId: string, due: DueGroup, error: unknown): StepDraft {
    const draft = this.#empty(due);
    const text = `the results of group ${groupId} cannot be handed on: ${errorText(error)}`;
    try {
      draft.failBody(bodyOf(due), toWireException(new ChordError(text)));
    } catch (unreadable) {
      this.#deps.logger.error({ err: unreadable, groupId }, `${text}; and its body cannot be told: ${errorText(unreadable)}`);
      return this.#empty(due);
    }
    return draft;
  }

  /** undefined: it is not complete after all. @throws Unreadable */
  async #draft(groupId: string, due: DueGroup): Promise<StepDraft | undefined> {
    const { groups } = this.#deps.backend;
    if (due.lost !== undefined) {
      const lost = this.#empty(due);
      if (due.body !== "") lost.failBody(bodyOf(due), toWireException(new ChordError(`Group ${groupId} cannot be completed: ${due.lost}`)));
      return lost;
    }
    const { parts: texts, expected } = await groups.parts(groupId);
    if (expected === 0) return undefined; // somebody has ended it meanwhile
    const byId = new Map<string, ChordPart>();
    const surplus: ResultText[] = [];
    const kept = new Map<string, ResultText>();
    for (const text of texts) {
      const part = readable(() => decodePart(text, this.#decoding));
      const before = kept.get(part.taskId);
      const stays = byId.get(part.taskId)?.state === "SUCCESS";
      if (before !== undefined) surplus.push(stays ? text : before);
      if (stays) continue;
      byId.set(part.taskId, part);
      kept.set(part.taskId, text);
    }
    if (byId.size < expected && (await groups.reopen(groupId, surplus))) return undefined;
    const chord = readable(() => bodyOf(due));
    const draft = this.#empty(due);
    const failed = [...byId.values()].find((part) => part.error !== undefined);
    if (failed?.error !== undefined) {
      draft.failBody(chord, memberError(failed.taskId, failed.error));
      return draft;
    }
    const saved = await groups.restore(groupId);
    const values = saved === undefined ? [...byId.values()].map((part) => part.result) : await this.#nestedValues(saved);
    readable(() => draft.call(chord, [values]));
    return draft;
  }

  #empty({ memberId, rootId, priority }: DueGroup): StepDraft {
    const id = memberId || rootId; // of a group that was given up no member was the last
    return new StepDraft({ id, rootId: rootId || id, delivery: { priority } }, this.#deps.rules, this.#deps.brokerNow());
  }

  /** A header whose members end in groups has lists among its results. */
  async #nestedValues(saved: ResultText): Promise<unknown> {
    const value = async ([[id], children]: ResultTuple): Promise<unknown> => {
      if (children !== null) return await Promise.all(children.map(value));
      const [text] = await this.#deps.backend.fetch([id]);
      return text === undefined ? null : readable(() => decodeResult(text, this.#decoding).result);
    };
    return await value(readable(() => decodeGroup(saved, this.#decoding)));
  }

  get #decoding(): { readonly accept: ReadonlySet<string>; readonly serializer: string } {
    return { accept: this.#deps.accept, serializer: this.#deps.rules.resultSerializer };
  }
}

/** Something of a group that no waiting makes readable. */
class Unreadable extends Error {}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof ProtocolError ? new Unreadable(error.message) : error;
  }
}

/** @throws ProtocolError, also when no member could tell it */
function bodyOf({ body }: DueGroup): SignatureData {
  if (body === "") throw new ProtocolError("malformed", "chord", "no member that could be read has told the body");
  return readSignature(decodeJson(body), "chord");
}
