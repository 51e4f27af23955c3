/** Handles to tasks: what callers hold. `RemoteTask` only sends; `Task` can also run here. */
import type { Lovage } from "./app.ts";
import type { AsyncResult } from "./async-result.ts";
import { bindBatch, bindInvoke, boundArgs, type Invoke } from "./task-binding.ts";
import { type CallArguments, openArguments } from "./encrypted-arguments.ts";
import type { CallOptions, Kwargs, TaskCall } from "./call-options.ts";
import { type Leading, type Signature, signatureOf, type Trailing } from "./signature.ts";
import type { EagerResult } from "./eager.ts";
import type { StoredDefinition } from "./task-definition.ts";
import type { ResolvedTaskOptions, TaskOptions } from "./task-options.ts";

/** The first arguments of a task, any number of them: the others come by name. */
export type LeadingArgs<Args extends readonly unknown[]> = Args extends readonly [infer First, ...infer Rest]
  ? readonly [] | readonly [First, ...LeadingArgs<Rest>]
  : readonly unknown[];

/** A task known by name, wherever it runs. */
export class RemoteTask<Args extends readonly unknown[] = readonly unknown[], Result = unknown> {
  readonly name: string;
  readonly app: Lovage;
  /** Options that every call through this handle has, unless it says otherwise. */
  readonly defaults: CallOptions;

  constructor(app: Lovage, name: string, defaults: CallOptions = {}) {
    this.app = app;
    this.name = name;
    this.defaults = defaults;
  }

  /**
   * Sends a call. Resolves once the broker holds the message.
   * @throws PublishFailedError, PublishTimeoutError; ProtocolError when an argument cannot be written as JSON.
   */
  delay(...args: Args): Promise<AsyncResult<Result>> {
    return this.app.calls.send<Result>(this, args, undefined, undefined);
  }

  /** Sends a call with options. Keyword arguments are bound to the parameters that the task names. */
  applyAsync(args: Args, kwargs?: Readonly<Record<string, never>> | null, options?: CallOptions): Promise<AsyncResult<Result>>;
  applyAsync(args: LeadingArgs<Args>, kwargs: Kwargs, options?: CallOptions): Promise<AsyncResult<Result>>;
  applyAsync(args: readonly unknown[], kwargs?: Kwargs | null, options?: CallOptions): Promise<AsyncResult<Result>> {
    return this.app.calls.send<Result>(this, args, kwargs ?? undefined, options);
  }

  /**
   * A signature: this call, described and not sent. With the last of its arguments only, what comes before it in a chain
   * is put in front of them.
   */
  s<Given extends Trailing<Args>>(...args: Given): Signature<Leading<Args, Given>, Result> {
    return signatureOf(this.app, this.name, args, this.defaults, false);
  }

  /** An immutable signature: it takes these arguments and passes over what comes before it. */
  si(...args: Args): Signature<unknown, Result> {
    return signatureOf(this.app, this.name, args, this.defaults, true);
  }

  /** A call as data, for `app.publishMany([...])`. */
  call(...args: Args): TaskCall<Result> {
    return { name: this.name, args, options: this.defaults };
  }

  /** One call for each list of arguments, sent together. */
  map(list: readonly Args[], options?: CallOptions): Promise<AsyncResult<Result>[]> {
    return this.app.calls.sendMany<Result>(list.map((args) => ({ name: this.name, args, options: { ...this.defaults, ...options } })));
  }
}

/** A task that is defined in this program. */
export class Task<Args extends readonly unknown[] = readonly unknown[], Result = unknown> extends RemoteTask<Args, Result> {
  /** As written, before annotations and settings. */
  readonly definition: StoredDefinition;
  /**
   * Runs the body with arguments from a message: binds keyword arguments, checks them with `input`, passes the context.
   * Throws TaskArgumentsError, at once or later, when they do not fit. For workers.
   */
  readonly invoke: Invoke;
  #options: ResolvedTaskOptions | undefined;

  constructor(app: Lovage, definition: StoredDefinition) {
    super(app, definition.name);
    this.definition = definition;
    this.invoke = definition.batch || definition.aggregate ? this.#bindBatch(definition) : this.#bind(definition);
  }

  #bind(definition: StoredDefinition): Invoke {
    const invoke = bindInvoke(definition);
    return definition.options.encrypt ? this.#opening(invoke) : invoke;
  }

  #bindBatch(definition: StoredDefinition): Invoke {
    const { clock, random } = this.app;
    const open = (call: CallArguments): CallArguments =>
      definition.options.encrypt ? openArguments(call, () => this.app.cipher, this.name) : call;
    return bindBatch(definition, { options: () => this.options, clock, random }, open);
  }

  #opening(invoke: Invoke): Invoke {
    return (ctx, args, kwargs) => {
      const opened = openArguments({ args, kwargs }, () => this.app.cipher, this.name);
      return invoke(ctx, opened.args, opened.kwargs);
    };
  }

  /** The arguments of a message in their order, decrypted, not checked. For workers. @throws TaskArgumentsError */
  argsOf(call: { readonly args: readonly unknown[]; readonly kwargs: Kwargs }): readonly unknown[] {
    const { args, kwargs } = this.definition.options.encrypt ? openArguments(call, () => this.app.cipher, this.name) : call;
    return boundArgs(this.definition, args, kwargs);
  }

  /** Resolved on first use, because that reads the app's settings. */
  get options(): ResolvedTaskOptions {
    return (this.#options ??= this.app.resolveOptions(this.definition));
  }

  /** Runs the task here and now, without a broker, retries included. For tests. */
  apply(args: Args, kwargs?: Readonly<Record<string, never>> | null, options?: CallOptions): Promise<EagerResult<Result>>;
  apply(args: LeadingArgs<Args>, kwargs: Kwargs, options?: CallOptions): Promise<EagerResult<Result>>;
  apply(args: readonly unknown[], kwargs?: Kwargs | null, options?: CallOptions): Promise<EagerResult<Result>> {
    return this.app.calls.runEagerly<Result>(this as unknown as Task, args, kwargs ?? {}, options ?? {});
  }

  /** Its own options, as written where it is defined. */
  get ownOptions(): TaskOptions {
    return this.definition.options;
  }
}

/** Any task, whatever its arguments. */
export type AnyTask = Task<readonly never[]>;
