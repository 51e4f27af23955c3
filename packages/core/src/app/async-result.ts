/** What a caller holds of a task that it sent: its id, and the way to its outcome. */
import { readResultTuple, type ResultTuple } from "../canvas/result-tuple.ts";
import { fromWireException } from "../protocol/exception.ts";
import type { ResultDocument } from "../protocol/result.ts";
import { isReady } from "../protocol/states.ts";
import { DURATION_ACCEPTED, parseDuration, type Duration } from "../shared/duration.ts";
import type { RevokeOptions } from "./control.ts";
import { CallError, WaitInsideTaskError } from "./errors.ts";
import type { Lovage } from "./app.ts";
import type { AnyResult } from "./group-result.ts";
import { collect, type Collected, type GraphOptions, graphOf, type ResultGraph } from "./result-tree.ts";
import { currentTask } from "./process-wide.ts";

export interface GetOptions {
  /** Default: the setting `resultTimeout` (300 s); null waits for ever. */
  readonly timeout?: Duration | null;
  readonly signal?: AbortSignal;
  /** Throw the task's error. Default true; with false the error is returned. */
  readonly propagate?: boolean;
  /** Told of every state that is stored meanwhile, such as PROGRESS. */
  readonly onMessage?: (document: ResultDocument) => void;
  /** Waiting inside of a task is refused unless this is false. Default true. */
  readonly disableSyncSubtasks?: boolean;
}

/** Where the outcome is. The default reads the app's result backend; eager results have it at hand. */
export interface ResultSource {
  read(id: string): Promise<ResultDocument | undefined>;
  wait(
    id: string,
    options: { readonly timeoutMs: number | null; readonly signal: AbortSignal | undefined; readonly onMessage: GetOptions["onMessage"] },
  ): Promise<ResultDocument>;
  forget(ids: readonly string[]): Promise<void>;
  /** The very error that the task threw, where it ran in this process. */
  thrown?(id: string): unknown;
}

/** Not a promise, so that `await task.delay()` gives this and not the task's result: call `get()` for that. */
export class AsyncResult<Result = unknown> {
  readonly id: string;
  /** What ran before it in its workflow, as far as the caller knows. */
  readonly parent: AnyResult | undefined;
  /** The call was a duplicate: `id` is that of the task that stands for it. */
  readonly isDuplicate: boolean;
  readonly #app: Lovage;
  readonly #source: ResultSource | undefined;
  /** Ready documents do not change any more. */
  #final: ResultDocument | undefined;

  constructor(app: Lovage, id: string, source?: ResultSource, parent?: AnyResult, isDuplicate = false) {
    this.#app = app;
    this.id = id;
    this.isDuplicate = isDuplicate;
    this.#source = source;
    this.parent = parent;
  }

  /**
   * The task's result, as soon as there is one.
   * @throws the task's error (of a class of ours where it is known here, else RemoteTaskError); ResultTimeoutError;
   *   ResultsDisabledError; the signal's reason; WaitInsideTaskError
   */
  get(options: GetOptions & { readonly propagate: false }): Promise<Result | Error>;
  get(options?: GetOptions): Promise<Result>;
  get(options: GetOptions = {}): Promise<Result | Error> {
    const outcome = this.#get(options);
    outcome.catch(() => {}); // a result that nobody looks at any more must not end the process
    return outcome;
  }

  async #get(options: GetOptions): Promise<Result | Error> {
    const running = currentTask();
    if (running && !running.isEager && (options.disableSyncSubtasks ?? true))
      throw new WaitInsideTaskError(this.id, `${running.task}[${running.id}]`);
    const document =
      this.#final ??
      (await this.#results.wait(this.id, {
        timeoutMs: this.#timeoutMs(options.timeout),
        signal: options.signal,
        onMessage: options.onMessage,
      }));
    this.#final = document;
    if (document.state === "SUCCESS") return document.result as Result; // what the task returned; its type is the caller's declaration
    const error = this.#errorOf(document);
    if (options.propagate ?? true) throw error;
    return error;
  }

  /** PENDING, STARTED, PROGRESS, RETRY, SUCCESS, FAILURE, REVOKED, or a state of the task's own. PENDING means that nothing is known. */
  async state(): Promise<string> {
    return (await this.info())?.state ?? "PENDING";
  }

  /** Everything that is stored about the task, in one read; undefined when there is nothing. */
  async info(): Promise<ResultDocument | undefined> {
    if (this.#final) return this.#final;
    const document = await this.#results.read(this.id);
    if (document && isReady(document.state)) this.#final = document;
    return document;
  }

  /** SUCCESS, FAILURE or REVOKED. */
  async ready(): Promise<boolean> {
    return isReady(await this.state());
  }

  async successful(): Promise<boolean> {
    return (await this.state()) === "SUCCESS";
  }

  async failed(): Promise<boolean> {
    return (await this.state()) === "FAILURE";
  }

  /** The result, the error of a task that failed, or the meta of another state; undefined when nothing is stored. Does not wait. */
  async result(): Promise<unknown> {
    const document = await this.info();
    return document?.error ? this.#errorOf(document) : document?.result;
  }

  #errorOf(document: ResultDocument): Error {
    return (this.#source?.thrown?.(this.id) as Error | undefined) ?? fromWireException(document.error); // whatever was thrown
  }

  async traceback(): Promise<string | null> {
    return (await this.info())?.traceback ?? null;
  }

  async dateDone(): Promise<Date | null> {
    const at = (await this.info())?.dateDoneAt ?? null;
    return at === null ? null : new Date(at);
  }

  /** What this task sent, and what followed it: tasks, and groups whole, in order. Empty while it has not ended. */
  async children(): Promise<readonly AnyResult[]> {
    const document = await this.info();
    return (document?.children ?? []).map((tuple) => this.#app.resultFrom(readResultTuple(tuple, "children"), this.#source));
  }

  /**
   * This result and all below it with their values, level by level: what each task sent, waiting for each (Celery's `collect`).
   * A chain's later steps are below its first: begin there (`result.parent`).
   * @throws as `get()` does; with `propagate: false` errors are values
   */
  collect(options: GetOptions = {}): AsyncGenerator<Collected, void, undefined> {
    return collect(this, options);
  }

  /** The tree that it is part of, from its first known ancestor on, as data and as text for Graphviz. @throws IncompleteStreamError */
  graph(options: GraphOptions = {}): Promise<ResultGraph> {
    return graphOf(this, options);
  }

  /** Deletes what is stored about the task. */
  async forget(): Promise<void> {
    this.#final = undefined;
    await this.#results.forget([this.id]);
  }

  /** Does not let the task run; with `terminate`, ends it where it runs. See `app.control.revoke`. */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    await this.#app.control.revoke([this.id], options);
  }

  /** As on the wire: its id and its ancestors. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], null];
  }

  toString(): string {
    return this.id;
  }

  toJSON(): string {
    return this.id;
  }

  get #results(): ResultSource {
    return this.#source ?? this.#app.results;
  }

  #timeoutMs(timeout: Duration | null | undefined): number | null {
    if (timeout === null) return null;
    if (timeout === undefined) return this.#app.settings.resultTimeoutMs;
    const ms = parseDuration(timeout);
    if (ms === undefined) throw new CallError("", `timeout of get() is not accepted: it takes ${DURATION_ACCEPTED}, or null`);
    return ms;
  }
}
