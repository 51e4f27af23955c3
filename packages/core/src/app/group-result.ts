/** Results of several tasks at once: those of a group, or any that are put together. */
import { leafIds, readResultTuple, type ResultTuple } from "../canvas/result-tuple.ts";
import type { ResultDocument } from "../protocol/result.ts";
import { isReady } from "../protocol/states.ts";
import type { Lovage } from "./app.ts";
import { AsyncResult, type GetOptions } from "./async-result.ts";
import type { RevokeOptions } from "./control.ts";

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
    const all = Promise.all(this.results.map((result) => result.get(options)));
    all.catch(() => {}); // nobody may be looking any more
    return all as Promise<unknown> as Promise<Values>; // one value for each result, which is what Values says
  }

  /** Celery's name for `get`. */
  join(options?: GetOptions): Promise<Values> {
    return this.get(options);
  }

  /** Each result as soon as it is there. Leaving the loop stops waiting for the others. */
  async *iterate(options: GetOptions = {}): AsyncGenerator<CompletedResult<Values[number]>, void, undefined> {
    const enough = new AbortController();
    const signal = options.signal === undefined ? enough.signal : AbortSignal.any([options.signal, enough.signal]);
    const arrived: CompletedResult<Values[number]>[] = [];
    let wake: (() => void) | undefined;
    const note = (result: CompletedResult<Values[number]>): void => {
      arrived.push(result);
      wake?.();
    };
    for (const [index, result] of this.results.entries()) {
      result.get({ ...options, propagate: true, signal }).then(
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
      enough.abort(new Error("nobody waits for it any more"));
    }
  }

  /** What is stored of each task, in one read. */
  async info(): Promise<readonly (ResultDocument | undefined)[]> {
    return await Promise.all(this.#ids().map((id) => this.app.results.read(id)));
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

  /** As on the wire. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], this.results.map((result) => result.asTuple())];
  }

  toJSON(): ResultTuple {
    return this.asTuple();
  }
}

/** What callers hold of a result tuple. A chain's ancestors are a list, not a recursion: it may be long. */
export function resultOf(app: Lovage, tuple: ResultTuple): AnyResult {
  const line: ResultTuple[] = [];
  for (let each: ResultTuple | null = tuple; each !== null; each = each[0][1]) line.push(each);
  let result: AnyResult | undefined;
  for (const [[id], children] of line.toReversed()) {
    result =
      children === null
        ? new AsyncResult(app, id, undefined, result)
        : new GroupResult(
            app,
            id,
            children.map((child) => resultOf(app, child)),
            result,
          );
  }
  return result as AnyResult; // the line has at least the tuple itself
}

/** @throws ProtocolError for what is no result tuple */
export function resultFrom(app: Lovage, value: unknown): AnyResult {
  return resultOf(app, readResultTuple(value));
}
