/**
 * Counts the parts of chords, and finishes the chords that are complete: the body is called with the results, or fails
 * with its header. A member's part is registered before its loan ends, by its place: a crash in between runs it again,
 * and it reports again as the same part. What finishes a chord is published in the settlement of the member that completed
 * it, so that both happen or neither; the loan is the record that something is due.
 */
import { decodePart, type ChordPart } from "../canvas/chord-part.ts";
import { type ResultTuple } from "../canvas/result-tuple.ts";
import { decodeGroup, encodeGroup } from "../canvas/saved-group.ts";
import { ChordError } from "../protocol/celery-errors.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { toWireException } from "../protocol/exception.ts";
import { pythonRepr } from "../protocol/python-repr.ts";
import { decodeResult } from "../protocol/result.ts";
import type { ResultBackend, ResultText } from "../results/result-backend.ts";
import { type DuePart, StepDraft, type WorkflowRules, type WorkflowStep } from "./workflow.ts";

export interface ChordDeps {
  readonly backend: ResultBackend;
  readonly rules: WorkflowRules;
  readonly accept: ReadonlySet<string>;
  /** ms since 1970, by the broker's clock. */
  brokerNow(): number;
}

/** What a settlement gets in addition, and the groups that are of no use once it is done. */
export interface Advanced extends Pick<WorkflowStep, "publish" | "results"> {
  readonly ended: readonly string[];
}

export class Chords {
  readonly #deps: ChordDeps;

  constructor(deps: ChordDeps) {
    this.#deps = deps;
  }

  /** May be repeated as a whole: each of its steps is. */
  async advance(step: WorkflowStep, signal: AbortSignal): Promise<Advanced> {
    const { groups } = this.#deps.backend;
    await this.#begin(step);
    const publish = [...step.publish];
    const results = [...step.results];
    const ended: string[] = [];
    // A chord that fails may be a member of another one, and that of a third.
    for (let parts = step.parts; parts.length > 0;) {
      const answers = await groups.addParts(parts, { signal });
      const next: DuePart[] = [];
      for (const [i, part] of parts.entries()) {
        if (answers[i] !== true) continue;
        const finish = await this.#finishOrGiveUp(part, step);
        if (finish === undefined) continue;
        await this.#begin(finish);
        publish.push(...finish.publish);
        results.push(...finish.results);
        next.push(...finish.parts);
        ended.push(part.groupId);
      }
      parts = next;
    }
    return { publish, results, ended };
  }

  async end(groupIds: readonly string[]): Promise<void> {
    await this.#deps.backend.groups.end(groupIds);
  }

  async #begin({ sizes, nested }: Pick<WorkflowStep, "sizes" | "nested">): Promise<void> {
    const { backend, rules } = this.#deps;
    const expiresMs = rules.resultExpiresMs;
    if (sizes.length > 0) await backend.groups.begin(sizes.map((size) => ({ ...size, expiresMs })));
    for (const tuple of nested) await backend.groups.save(tuple[0][0], encodeGroup(tuple, rules.resultSerializer), expiresMs);
  }

  /** What cannot be read will not be readable later either: the member must not wait for it. */
  async #finishOrGiveUp(part: DuePart, step: WorkflowStep): Promise<StepDraft | undefined> {
    try {
      return await this.#finish(part, step);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const draft = new StepDraft({ ...step.parent, id: part.taskId }, this.#deps.rules, this.#deps.brokerNow());
      draft.failBody(
        part.chord,
        toWireException(new ChordError(`the results of group ${part.groupId} cannot be handed on: ${error.message}`)),
      );
      return draft;
    }
  }

  /** undefined: not complete after all. */
  async #finish({ groupId, chord, taskId }: DuePart, { parent }: WorkflowStep): Promise<StepDraft | undefined> {
    const { backend, rules, brokerNow } = this.#deps;
    const { parts: texts, expected } = await backend.groups.parts(groupId);
    const byId = new Map<string, ChordPart>();
    for (const text of texts) {
      const part = decodePart(text, this.#decoding);
      if (byId.get(part.taskId)?.state !== "SUCCESS") byId.set(part.taskId, part);
    }
    if (byId.size < expected) {
      await backend.groups.reopen(groupId);
      return undefined;
    }
    const draft = new StepDraft({ ...parent, id: taskId }, rules, brokerNow());
    const failed = [...byId.values()].find((part) => part.error !== undefined);
    if (failed?.error !== undefined) {
      const { type, args } = failed.error;
      const raised = `${type}(${args.map((arg) => pythonRepr(arg)).join(", ")})`;
      draft.failBody(chord, toWireException(new ChordError(`Dependency ${failed.taskId} raised ${raised}`)));
      return draft;
    }
    const saved = await backend.groups.restore(groupId);
    const values = saved === undefined ? [...byId.values()].map((part) => part.result) : await this.#nestedValues(saved);
    draft.call(chord, [values]);
    return draft;
  }

  /** A header whose members end in groups has lists among its results. */
  async #nestedValues(saved: ResultText): Promise<unknown> {
    const value = async ([[id], children]: ResultTuple): Promise<unknown> => {
      if (children !== null) return await Promise.all(children.map(value));
      const [text] = await this.#deps.backend.fetch([id]);
      return text === undefined ? null : decodeResult(text, this.#decoding).result;
    };
    return await value(decodeGroup(saved, this.#decoding));
  }

  get #decoding(): { readonly accept: ReadonlySet<string>; readonly serializer: string } {
    return { accept: this.#deps.accept, serializer: this.#deps.rules.resultSerializer };
  }
}
