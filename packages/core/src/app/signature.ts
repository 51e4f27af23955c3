/**
 * Work that is described and not yet sent (Celery's `Signature`): made by `task.s(...)`, composed by `chain`, `group` and
 * `chord`, sent by `delay`. A signature does not change: what seems to change it answers with another one.
 *
 * `In` is what the result before it must be: `[]` needs nothing more, `[number]` one number in front of its arguments,
 * `unknown` takes anything and passes over it. It is there for the compiler alone.
 */
import { freeze } from "../canvas/freeze.ts";
import type { ResultTuple } from "../canvas/result-tuple.ts";
import { merged, mergedOptions, readSignature, shapeOf, taskSignature } from "../canvas/signature-data.ts";
import { onError, onSuccess } from "../canvas/steps.ts";
import { stamped, type Stamps, type StampVisitor } from "../canvas/stamp.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Lovage } from "./app.ts";
import type { AsyncResult } from "./async-result.ts";
import type { ChordResult } from "./chord-result.ts";
import type { CallOptions, Kwargs } from "./call-options.ts";
import { CallError } from "./errors.ts";
import type { FailureLink } from "./error-callback.ts";
import { resultOf } from "./group-result.ts";
import type { GroupResult } from "./group-result.ts";
import { checkCallOptions } from "./call-options.ts";
import { toWireOptions } from "./wire-options.ts";

/** true: it ends in a group. */
export type Kind = boolean | "chord";

/** What is held of a workflow that was sent: of a group its members' results, else the result of its last task. */
export type HandleOf<Out, IsGroup> = IsGroup extends true
  ? GroupResult<Out extends readonly unknown[] ? Out : readonly unknown[]>
  : IsGroup extends "chord"
    ? ChordResult<Out>
    : AsyncResult<Out>;

export class Signature<In = unknown, Out = unknown, IsGroup extends Kind = false> {
  readonly app: Lovage;
  /** As on the wire. */
  readonly data: SignatureData;
  /** Only for types. */
  declare readonly accepts: (input: In) => void;
  declare readonly returns: Out;
  declare readonly isGroup: IsGroup;

  constructor(app: Lovage, data: SignatureData) {
    this.app = app;
    this.data = data;
  }

  get task(): string {
    return this.data.task;
  }
  get args(): readonly unknown[] {
    return this.data.args;
  }
  get kwargs(): Kwargs {
    return this.data.kwargs;
  }
  /** In Celery's spelling. */
  get options(): Readonly<Record<string, unknown>> {
    return this.data.options;
  }
  get immutable(): boolean {
    return this.data.immutable;
  }
  /** Set by `freeze()` or `set({ taskId })`. */
  get id(): string | undefined {
    const id = this.data.options.task_id;
    return typeof id === "string" ? id : undefined;
  }

  /** Sends it. Resolves once the broker holds its first messages. @throws PublishFailedError, PublishTimeoutError, ProtocolError */
  delay(...args: In extends readonly unknown[] ? In : []): Promise<HandleOf<Out, IsGroup>> {
    return this.applyAsync(args);
  }

  /** Sends it with further arguments, which go in front of its own, and options, which win over its own. */
  async applyAsync(args: readonly unknown[] = [], kwargs: Kwargs = {}, options: CallOptions = {}): Promise<HandleOf<Out, IsGroup>> {
    checkCallOptions(this.task, options);
    if (this.app.settings.taskAlwaysEager) return await this.#runEagerly(args, kwargs, options, true);
    const tuple = await this.app.calls.sendSignature(this.data, args, kwargs, toWireOptions(this.task, options), options.addToParent);
    return this.#handle(tuple);
  }

  /** Runs all of it here and now, without a broker, one task after the other. For tests. Tasks of other programs fail with NotRegistered. */
  async apply(args: readonly unknown[] = [], kwargs: Kwargs = {}, options: CallOptions = {}): Promise<HandleOf<Out, IsGroup>> {
    checkCallOptions(this.task, options);
    return await this.#runEagerly(args, kwargs, options, false);
  }

  async #runEagerly(args: readonly unknown[], kwargs: Kwargs, options: CallOptions, isAlways: boolean): Promise<HandleOf<Out, IsGroup>> {
    const { result } = await this.app.calls.runSignatureEagerly(this.data, args, kwargs, toWireOptions(this.task, options), isAlways);
    return result as HandleOf<Out, IsGroup>; // as in #handle
  }

  /** Its id is chosen now: sent later, it is the task whose result is given here. Never send it twice. */
  freeze(taskId?: string): { readonly signature: Signature<In, Out, IsGroup>; readonly result: HandleOf<Out, IsGroup> } {
    const frozen = freeze(this.data, { task_id: taskId, reply_to: this.app.calls.replyTo });
    return { signature: this.#with(frozen.signature), result: this.#handle(frozen.result) };
  }

  /** With options of its call. Of a chain they are for its first step, of a group for every member, of a chord for both. */
  set(options: CallOptions): Signature<In, Out, IsGroup> {
    checkCallOptions(this.task, options);
    return this.#with({ ...this.data, options: mergedOptions(this.data.options, toWireOptions(this.task, options)) });
  }

  /** A copy with arguments in front of its own. */
  clone(args: readonly unknown[] = [], kwargs: Kwargs = {}): Signature<unknown, Out, IsGroup> {
    return new Signature(this.app, merged(this.data, args, kwargs));
  }

  /** Takes its arguments as they are, whatever came before. */
  asImmutable(): Signature<unknown, Out, IsGroup> {
    return new Signature(this.app, { ...this.data, immutable: true });
  }

  /** Called with its result, once it has succeeded: of a chain that of its last step, of a chord that of its body. */
  link(...callbacks: readonly Linkable<Out>[]): Signature<In, Out, IsGroup> {
    if (shapeOf(this.data).kind === "group")
      throw new CallError(this.task, "a group has no one result to call anything with: make it the header of a chord");
    return this.#with(onSuccess(this.data, callbacks.map(dataOf)));
  }

  /** Called with the id of the task that failed, or, if it takes three arguments, with what failed, the error and its traceback: any step of a chain, any member of a group, a chord's body for its header too. */
  onError(...errbacks: readonly (Linkable<string> | FailureLink)[]): Signature<In, Out, IsGroup> {
    return this.#with(onError(this.data, errbacks.map(dataOf)));
  }

  /**
   * Every task of it, and what is linked to it, carries these headers. A visitor is asked for each part, and may add more; a
   * function is asked for each task. A stamp that is there already is replaced, or with `append` both values become a list.
   */
  stamp(by: Stamps | StampVisitor | StampVisitor["onSignature"], options: StampOptions = {}): Signature<In, Out, IsGroup> {
    const { append, stamps = {} } = options;
    if (typeof by === "function") return this.#with(stamped(this.data, stamps, { visitor: { onSignature: by }, append }));
    if (isVisitor(by)) return this.#with(stamped(this.data, stamps, { visitor: by, append }));
    return this.#with(stamped(this.data, { ...stamps, ...by }, { append }));
  }

  /** Plain data, equal to Celery's. */
  toJSON(): SignatureData {
    return this.data;
  }

  /** From plain data, whoever wrote it. @throws ProtocolError */
  static from<Out = unknown>(app: Lovage, data: unknown): Signature<unknown, Out> {
    const signature = readSignature(data);
    shapeOf(signature);
    return new Signature(app, signature);
  }

  #with(data: SignatureData): Signature<In, Out, IsGroup> {
    return new Signature(this.app, data);
  }

  #handle(tuple: ResultTuple): HandleOf<Out, IsGroup> {
    return resultOf(this.app, tuple) as HandleOf<Out, IsGroup>; // a group's tuple has children: IsGroup says the same to the compiler
  }
}

export interface StampOptions {
  /** Default false. */
  readonly append?: boolean;
  /** Beside those of a visitor. */
  readonly stamps?: Stamps;
}

function isVisitor(by: Stamps | StampVisitor): by is StampVisitor {
  return typeof by.onSignature === "function";
}

/** A callback that takes what it is given, or passes over it. */
export type Linkable<Given> = SignatureData | { readonly accepts: (input: [Given]) => void; toJSON(): SignatureData };

/** @throws CallError */
export function dataOf(signature: SignatureData | { toJSON(): SignatureData }): SignatureData {
  if (typeof signature !== "object" || signature === null)
    throw new CallError("", `a ${typeof signature} is no signature: make one with task.s(...)`);
  return "toJSON" in signature ? signature.toJSON() : signature;
}

export function signatureOf<In, Out>(
  app: Lovage,
  name: string,
  args: readonly unknown[],
  defaults: CallOptions,
  immutable: boolean,
): Signature<In, Out> {
  const { unique: _, ...options } = defaults; // as a task's own: what is part of a workflow takes no lock
  return new Signature(app, taskSignature(name, args, {}, toWireOptions(name, options), immutable));
}

/** Arguments that may stand at the end of a task's, when what comes before is still to come. */
export type Trailing<Args extends readonly unknown[]> = Args extends readonly [unknown, ...infer Rest] ? Args | Trailing<Rest> : Args;

/** What is still to come in front of them. */
export type Leading<Args extends readonly unknown[], Given extends readonly unknown[]> = number extends Args["length"]
  ? [Args[number]] extends [never]
    ? never
    : unknown
  : Required<Args> extends infer All extends readonly unknown[]
    ? DropLast<All, Given>
    : never;

type DropLast<All extends readonly unknown[], Given extends readonly unknown[]> = Given extends readonly [unknown, ...infer Rest]
  ? All extends readonly [...infer Head, unknown]
    ? DropLast<Head, Rest>
    : []
  : [...All];
