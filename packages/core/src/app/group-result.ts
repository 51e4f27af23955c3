/** Results of several tasks at once: those of a group, or any that are put together. */
import { leafIds, type ResultTuple } from "../canvas/result-tuple.ts";
import type { ResultDocument } from "../protocol/result.ts";
import { isReady } from "../protocol/states.ts";
import { onAbort } from "../shared/abort.ts";
import type { Lovage } from "./app.ts";
import { AsyncResult, type GetOptions, type ResultSource } from "./async-result.ts";
import { ChordResult } from "./chord-result.ts";
import type { RevokeOptions } from "./control.ts";
import { collect, type Collected, type GraphOptions, graphOf, type ResultGraph } from "./result-tree.ts";

export type AnyResult = AsyncResult | GroupResult;

/** Results that came to an end, in the order they did. */
export interface CompletedResult<Value> {
  /** Its place among `results`. */
  readonly index: number;
  readonly id: string;
  /** What the task returned, or the error it failed with. */
  readonly outcome: { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly error: unknown };
}

/** Any results, waited for together. */
export class ResultSet<Values extends readonly unknown[] = readonly unknown[]> {
  readonly app: Lovage;
  readonly results: readonly AnyResult[];

  constructor(app: Lovage, results: readonly AnyResult[]) {
    this.app = app;
    this.results = results;
  }

  /**
   * All values in the order of the tasks, whichever ends first.
   * @throws as soon as one is known to have failed, its error; with `propagate: false` errors stand among the values
   */
  get(options: GetOptions = {}): Promise<Values> {
    const waits = new Waits(options.signal);
    const all = Promise.all(this.results.map((result) => result.get({ ...options, signal: waits.one() })));
    all.then(
      () => waits.end(),
      (error: unknown) => waits.end(error), // the others are not waited for any more
    );
    return all as Promise<unknown> as Promise<Values>; // one value for each result, which is what Values says
  }

  /** Celery's name for `get`. */
  join(options?: GetOptions): Promise<Values> {
    return this.get(options);
  }

  /** Each result as soon as it is there. Leaving the loop stops waiting for the others. */
  async *iterate(options: GetOptions = {}): AsyncGenerator<CompletedResult<Values[number]>, void, undefined> {
    const waits = new Waits(options.signal);
    const arrived: CompletedResult<Values[number]>[] = [];
    let wake: (() => void) | undefined;
    const note = (result: CompletedResult<Values[number]>): void => {
      arrived.push(result);
      wake?.();
    };
    for (const [index, result] of this.results.entries()) {
      result.get({ ...options, propagate: true, signal: waits.one() }).then(
        (value) => note({ index, id: result.id, outcome: { ok: true, value } }),
        (error: unknown) => note({ index, id: result.id, outcome: { ok: false, error } }),
      );
    }
    try {
      for (let given = 0; given < this.results.length; given++) {
        if (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        options.signal?.throwIfAborted();
        yield arrived.shift() as CompletedResult<Values[number]>;
      }
    } finally {
      waits.end(new Error("nobody waits for it any more"));
    }
  }

  /** What is stored of each task, in one read. */
  async info(): Promise<readonly (ResultDocument | undefined)[]> {
    return await Promise.all(leavesOf(this.results).map((leaf) => leaf.info()));
  }

  /** Some of them: from this place on, at most so many. */
  page(first: number, count: number): ResultSet {
    return new ResultSet(this.app, this.results.slice(first, first + count));
  }

  /** All have ended. */
  async ready(): Promise<boolean> {
    return (await this.info()).every((document) => document !== undefined && isReady(document.state));
  }

  /** All have succeeded. */
  async successful(): Promise<boolean> {
    return (await this.info()).every((document) => document?.state === "SUCCESS");
  }

  /** At least one has failed. */
  async failed(): Promise<boolean> {
    return (await this.info()).some((document) => document?.state === "FAILURE");
  }

  /** At least one has not ended. */
  async waiting(): Promise<boolean> {
    return !(await this.ready());
  }

  /** How many have succeeded. */
  async completedCount(): Promise<number> {
    return (await this.info()).filter((document) => document?.state === "SUCCESS").length;
  }

  /** Deletes what is stored of the tasks. */
  async forget(): Promise<void> {
    await this.app.results.forget(this.#ids());
  }

  /** Asks every worker not to run them. */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    await this.app.revoke(this.#ids(), options);
  }

  get length(): number {
    return this.results.length;
  }

  *[Symbol.iterator](): Iterator<AnyResult> {
    yield* this.results;
  }

  #ids(): readonly string[] {
    return this.results.flatMap((result) => leafIds(result.asTuple()));
  }
}

/** A signal for each that waits: ten thousand listeners of one would be looked through for every one that ends. */
class Waits {
  readonly #given: AbortSignal | undefined;
  readonly #each: AbortController[] = [];
  readonly #stopListening: (() => void) | undefined;

  constructor(given: AbortSignal | undefined) {
    this.#given = given;
    this.#stopListening = given && onAbort(given, () => this.end(given.reason));
  }

  one(): AbortSignal {
    const controller = new AbortController();
    if (this.#given?.aborted) controller.abort(this.#given.reason);
    else this.#each.push(controller);
    return controller.signal;
  }

  end(reason?: unknown): void {
    this.#stopListening?.();
    if (reason !== undefined) for (const controller of this.#each) controller.abort(reason);
    this.#each.length = 0;
  }
}

/** The results of a group's members, in the order they were written. */
export class GroupResult<Values extends readonly unknown[] = readonly unknown[]> extends ResultSet<Values> {
  readonly id: string;
  /** What ran before it. */
  readonly parent: AnyResult | undefined;

  constructor(app: Lovage, id: string, results: readonly AnyResult[], parent?: AnyResult) {
    super(app, results);
    this.id = id;
    this.parent = parent;
  }

  /** Keeps the group where results are kept, under Celery's key, so that `app.restoreGroup(id)` finds it. */
  async save(): Promise<void> {
    await this.app.results.saveGroup(this.id, this.asTuple());
  }

  /** Deletes what `save` kept. */
  async delete(): Promise<void> {
    await this.app.results.forgetGroup(this.id);
  }

  /** The group and all below it with their values, level by level. See `AsyncResult.collect`. */
  collect(options: GetOptions = {}): AsyncGenerator<Collected, void, undefined> {
    return collect(this, options);
  }

  /** The tree that it is part of. @throws IncompleteStreamError */
  graph(options: GraphOptions = {}): Promise<ResultGraph> {
    return graphOf(this, options);
  }

  /** As on the wire. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], this.results.map((result) => result.asTuple())];
  }

  toJSON(): ResultTuple {
    return this.asTuple();
  }
}

function leavesOf(results: readonly AnyResult[]): readonly AsyncResult[] {
  return results.flatMap((result) => (result instanceof GroupResult ? leavesOf(result.results) : [result]));
}

/**
 * What callers hold of a result tuple. What ends a line in which a group stands is a chord's. A chain's ancestors are a list,
 * not a recursion: it may be long.
 */
export function resultOf(app: Lovage, tuple: ResultTuple, source?: ResultSource): AnyResult {
  const line: ResultTuple[] = [];
  for (let each: ResultTuple | null = tuple; each !== null; each = each[0][1]) line.push(each);
  let result: AnyResult | undefined;
  let header: GroupResult | undefined;
  for (const each of line.toReversed()) {
    const [[id], children] = each;
    if (children !== null) {
      const members = children.map((child) => resultOf(app, child, source));
      result = header = new GroupResult(app, id, members, result);
    } else if (each === tuple && header !== undefined) {
      result = new ChordResult(app, id, header, source, result);
    } else {
      result = new AsyncResult(app, id, source, result);
    }
  }
  return result as AnyResult; // the line has at least the tuple itself
}
