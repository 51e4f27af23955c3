/**
 * The app: settings, tasks and connections under one name. Making one reads nothing, opens no socket and starts no
 * timer; each thing is made when it is first needed, and `close()` ends them all.
 */
import { join, resolve } from "node:path";
import type { Broker } from "../brokers/broker.ts";
import { taskSignature } from "../canvas/signature-data.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import { systemClock, systemRandom, type Clock, type Random } from "../shared/clock.ts";
import { LamportClock } from "../shared/lamport.ts";
import type { Logger } from "../shared/log.ts";
import { callerFile, locateApp, type AppFiles } from "./app-files.ts";
import { readResultTuple } from "../canvas/result-tuple.ts";
import { AsyncResult, type ResultSource } from "./async-result.ts";
import { Batch, type BatchOptions, createBatch } from "./batch.ts";
import { Calls } from "./calls.ts";
import { checkCallOptions, type CallOptions, type Kwargs, type TaskCall } from "./call-options.ts";
import { Configuration, type ConfigurationHandover } from "./configuration.ts";
import type { BackendSpec, BrokerSpec } from "./connect.ts";
import { Connections } from "./connections.ts";
import { Control, type RevokeOptions } from "./control.ts";
import { defaultLogger } from "./default-logger.ts";
import { FieldCipher } from "./encryption.ts";
import { discover } from "./discover.ts";
import { DEFAULT_NAMESPACE, processEnvironment, type Environment } from "./environment.ts";
import { type AnyResult, GroupResult, resultOf } from "./group-result.ts";
import { ClusterLimits } from "./limits.ts";
import { UniqueLocks } from "./unique-locks.ts";
import { loadModule } from "./load-module.ts";
import { processWide } from "./process-wide.ts";
import { resolveTaskOptions } from "./resolve-task-options.ts";
import { FairQueues } from "./fair-queues.ts";
import { QueueControl } from "./queue-control.ts";
import { ResultReader } from "./result-reader.ts";
import { environmentName, type ResolvedSettings, type Settings, type SettingsInput } from "./settings.ts";
import { Signature } from "./signature.ts";
import { RemoteTask, type AnyTask, type Task } from "./task.ts";
import {
  storeDefinition,
  type CallerArgs,
  type AggregateTaskDefinition,
  type BatchTaskDefinition,
  type CheckedBatchTaskDefinition,
  type CheckedTaskDefinition,
  type InputSchema,
  type StoredDefinition,
  type TaskDefinition,
} from "./task-definition.ts";
import type { ResolvedTaskOptions, TaskOptions } from "./task-options.ts";
import { TaskRegistry } from "./task-registry.ts";
import { toWireOptions } from "./wire-options.ts";
import { WorkerHooks, type WorkerHook } from "./worker-hooks.ts";
import { Workflow } from "./workflow/workflow.ts";

/** Settings, and what is no setting. */
export interface LovageOptions extends SettingsInput {
  /** Default: warnings and notices on the standard error. pino fits. */
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Path of a configuration file; false reads none. Default: CELERY_CONFIG_MODULE, else `lovage.config.*` beside the app's package.json. */
  readonly configFile?: string | false;
  /** Folder of the configuration file, of `.lovage/` and of the modules in `imports`. Default: that of the nearest package.json above the calling module. */
  readonly root?: string;
  /** Prefix of settings in the environment. Default `CELERY`. */
  readonly namespace?: string;
  /** Default: the process's environment; false reads none. */
  readonly env?: Environment | false;
  /** Shared tasks use this app. Default true: the app made last is the current one. */
  readonly setAsCurrent?: boolean;
}

const BRAND = Symbol.for("lovage.app");

export class Lovage implements AsyncDisposable {
  readonly [BRAND] = true;
  readonly name: string;
  readonly tasks: TaskRegistry;
  readonly hooks = new WorkerHooks();
  readonly clock: Clock;
  readonly random: Random;
  /** Orders messages of control and events among all processes. */
  readonly lamport = new LamportClock();
  /** Sends calls. For handles of tasks and for workers. */
  readonly calls: Calls;
  /** Reads and awaits results. */
  readonly results: ResultReader;
  readonly files: AppFiles;
  /** Prefix of settings in the environment. */
  readonly namespace: string;
  #cipher: FieldCipher | undefined;
  #logger: Logger;
  #control: Control | undefined;
  #queues: QueueControl | undefined;
  #fairness: FairQueues | undefined;
  #limits: ClusterLimits | undefined;
  #unique: UniqueLocks | undefined;
  readonly #patterns: string[] = [];
  readonly #configuration: Configuration;
  readonly #connections: Connections;

  constructor(name: string, options: LovageOptions = {}) {
    const {
      logger,
      clock = systemClock,
      random = systemRandom,
      configFile,
      root,
      namespace = DEFAULT_NAMESPACE,
      env,
      setAsCurrent = true,
      ...settings
    } = options;
    this.name = name;
    this.files = root === undefined ? locateApp(callerFile(new.target)) : { module: undefined, root: resolve(root) };
    this.clock = clock;
    this.random = random;
    this.#logger = logger ?? defaultLogger();
    this.namespace = namespace;
    const processEnv = env === undefined ? processEnvironment() : env === false ? {} : env;
    this.#configuration = new Configuration(
      { appName: name, root: this.files.root, namespace, env: processEnv, logger: () => this.logger },
      configFile,
    );
    this.#configuration.add({ origin: "the code", values: settings });
    this.#connections = new Connections({
      appName: name,
      root: this.files.root,
      clock,
      random,
      isProduction: processEnv["NODE_ENV"] === "production",
      brokerVariable: environmentName("brokerUrl", namespace),
      logger: () => this.logger,
      settings: () => this.settings,
      declaredQueues: () => this.calls.routing.declared,
    });
    this.tasks = new TaskRegistry(this);
    this.calls = new Calls(this, clock, () => this.#connections.producer);
    this.results = new ResultReader({ backend: () => this.backend(), settings: () => this.settings, clock });
    if (setAsCurrent) processWide.currentApp = this;
  }

  get logger(): Logger {
    return this.#logger;
  }

  /** For programs around the app, such as the command line, that have a log of their own. */
  useLogger(logger: Logger): void {
    this.#logger = logger;
  }

  /** Resolved on first use: environment, then configuration file, then code, then defaults. @throws SettingError, ConfigurationError */
  get settings(): Settings {
    return this.resolvedSettings.settings;
  }

  /** The settings with where each came from. */
  get resolvedSettings(): ResolvedSettings {
    return this.#configuration.resolved;
  }

  /** Adds settings, as if they had been given to the constructor; later ones win. Only before the settings are first used. */
  configure(settings: SettingsInput | Readonly<Record<string, unknown>>, origin = "the code"): this {
    this.#configuration.add({ origin, values: settings });
    return this;
  }

  /** Settings that win even over the environment: for command lines. Only before the settings are first used. */
  override(settings: Readonly<Record<string, unknown>>, origin = "the command line", options: { readonly isText?: boolean } = {}): this {
    this.#configuration.override({ origin, values: settings, ...options });
    return this;
  }

  /** Reads this configuration file instead of any other; false reads none. For command lines. Only before the settings are first used. */
  useConfigFile(path: string | false): this {
    this.#configuration.useFile(path);
    return this;
  }

  /** What was said of the settings from outside of the app's module. For pools, whose children load that module again. */
  get handover(): ConfigurationHandover {
    return this.#configuration.handover;
  }

  takeOver(handover: ConfigurationHandover): void {
    this.#configuration.takeOver(handover);
  }

  /** Defines a task under a name that other programs call it by. */
  task<Args extends readonly unknown[], Result>(name: string, run: (...args: Args) => Result): Task<Args, Awaited<Result>>;
  task<Args extends readonly unknown[], Result>(
    name: string,
    options: TaskOptions<Args>,
    run: (...args: Args) => Result,
  ): Task<Args, Awaited<Result>>;
  task<const Schema extends InputSchema, Result>(definition: CheckedBatchTaskDefinition<Schema, Result>): Task<CallerArgs<Schema>, Result>;
  task<Args extends readonly unknown[], Result>(definition: AggregateTaskDefinition<Args, Result>): Task<Args, Result>;
  task<Args extends readonly unknown[], Result>(definition: BatchTaskDefinition<Args, Result>): Task<Args, Result>;
  task<const Schema extends InputSchema, Result>(
    definition: CheckedTaskDefinition<Schema, Result>,
  ): Task<CallerArgs<Schema>, Awaited<Result>>;
  task<Args extends readonly unknown[], Result>(definition: TaskDefinition<Args, Result>): Task<Args, Awaited<Result>>;
  task(first: unknown, second?: unknown, third?: unknown): AnyTask {
    return this.tasks.add(storeDefinition(first, second, third));
  }

  /** A typed handle to a task that runs elsewhere, in Python for instance. */
  remote<Args extends readonly unknown[], Result>(name: string, defaults?: CallOptions): RemoteTask<Args, Result> {
    return new RemoteTask<Args, Result>(this, name, defaults);
  }

  /** Sends a call by name, whether or not the task is known here. */
  sendTask<Result = unknown>(
    name: string,
    args: readonly unknown[] = [],
    kwargs?: Kwargs | null,
    options?: CallOptions,
  ): Promise<AsyncResult<Result>> {
    return this.calls.send<Result>({ name, defaults: {} }, args, kwargs ?? undefined, options);
  }

  /** Sends many calls, of any tasks, in one round trip (one for each 1,000). */
  publishMany<const List extends readonly TaskCall[]>(
    list: List,
  ): Promise<{ -readonly [Index in keyof List]: AsyncResult<List[Index] extends TaskCall<infer Result> ? Result : unknown> }> {
    return this.calls.sendMany(list) as never; // one result for each call, in order: the compiler does not see through the mapped type
  }

  /** The result of a task that was sent at another time or by another program. */
  result<Result = unknown>(id: string): AsyncResult<Result> {
    return new AsyncResult<Result>(this, id);
  }

  /** Remote control of workers, Lovage's and Python's. */
  get control(): Control {
    return (this.#control ??= new Control(this));
  }

  /** Pauses queues, and lets them go on. */
  get queues(): QueueControl {
    return (this.#queues ??= new QueueControl(this));
  }

  /** Keys of fair queues: how each stands, weights, limits, pauses. */
  get fairness(): FairQueues {
    return (this.#fairness ??= new FairQueues(this));
  }

  /** Limits for the whole cluster, by hand. */
  get limits(): ClusterLimits {
    return (this.#limits ??= new ClusterLimits(this));
  }

  /** A result from its tuple as on the wire: `result.asTuple()`. @throws ProtocolError */
  resultFrom(tuple: unknown, source?: ResultSource): AnyResult {
    return resultOf(this, readResultTuple(tuple), source);
  }

  /** Locks of unique tasks, by hand. */
  get unique(): UniqueLocks {
    return (this.#unique ??= new UniqueLocks(this));
  }

  /** The results of a group that was saved with `save()`, by Python too; undefined when there is none. */
  async restoreGroup<Values extends readonly unknown[] = readonly unknown[]>(id: string): Promise<GroupResult<Values> | undefined> {
    const tuple = await this.results.restoreGroup(id);
    const result = tuple && resultOf(this, tuple);
    return result instanceof GroupResult ? (result as GroupResult<Values>) : undefined; // what its members return is the caller's declaration
  }

  /**
   * A set of tasks that are counted together. With `fill` they are added there and it is sealed at its end; without, add them and call
   * `seal()`. When `fill` throws the batch is cancelled. @throws ResultsDisabledError, BatchClosedError when its parent takes no more
   */
  batch(options: BatchOptions = {}, fill?: (batch: Batch) => Promise<unknown>): Promise<Batch> {
    return createBatch(this, options, fill);
  }

  /** A batch that was made at another time or by another program. */
  openBatch(id: string): Batch {
    return new Batch(this, id);
  }

  /** A workflow by the id of a task, a group, a chord's header or a batch: to look at, and to repair. */
  workflow(id: string): Workflow {
    return new Workflow(this, id);
  }

  /** A signature of a task by name, wherever it runs. */
  signature<Out = unknown>(
    name: string,
    args: readonly unknown[] = [],
    kwargs: Kwargs = {},
    options: CallOptions = {},
  ): Signature<unknown, Out> {
    checkCallOptions(name, options);
    return new Signature(this, taskSignature(name, args, kwargs, toWireOptions(name, options)));
  }

  /** Does not let these tasks run. See `control.revoke`. */
  async revoke(ids: readonly string[], options: RevokeOptions = {}): Promise<void> {
    await this.control.revoke(ids, options);
  }

  // In a line comment, because the pattern would end another: app.autodiscover("**/tasks.{ts,js}").
  /** Task modules to load when a worker starts, as globs relative to the folder of the app's module. */
  autodiscover(...patterns: readonly string[]): this {
    this.#patterns.push(...patterns);
    return this;
  }

  /** Loads the modules of `imports`, `include` and `autodiscover`. For workers. @throws ModuleLoadError that names the file */
  async loadTasks(): Promise<readonly string[]> {
    const base = this.files.module === undefined ? this.files.root : join(this.files.module, "..");
    const like = /\.[cm]?[jt]s$/.exec(this.files.module ?? ".ts")?.[0];
    const listed = [...this.settings.imports, ...this.settings.include].map((path) => join(base, path));
    const found = this.#patterns.length === 0 ? [] : await discover(base, this.#patterns, like);
    const files = [...new Set([...listed, ...found])];
    for (const file of files) await loadModule(file);
    return files;
  }

  /** Opened on first use, shared by all that publish through this app. After a failure the next use tries again. */
  broker(): Promise<Broker> {
    return this.#connections.broker();
  }

  /** undefined when no results are kept. */
  backend(): Promise<ResultBackend | undefined> {
    return this.#connections.backend();
  }

  /** What a broker of this app is opened from: plain data, for other threads. @throws ConfigurationError */
  brokerSpec(part: "read" | "write" = "write"): BrokerSpec {
    return this.#connections.brokerSpec(part);
  }

  backendSpec(): BackendSpec | undefined {
    return this.#connections.backendSpec();
  }

  /** For arguments that are encrypted. @throws ConfigurationError when the keys are none */
  get cipher(): FieldCipher {
    return (this.#cipher ??= new FieldCipher(this.settings.encryptionKeys, this.settings.encryptionKeyId));
  }

  resolveOptions(definition: StoredDefinition): ResolvedTaskOptions {
    return resolveTaskOptions(definition, this.settings);
  }

  onWorkerStart(hook: WorkerHook): void {
    this.hooks.add("workerStart", hook);
  }

  onWorkerStop(hook: WorkerHook): void {
    this.hooks.add("workerStop", hook);
  }

  /** In each thread or process of a pool; in the async pool, together with the worker. */
  onChildStart(hook: WorkerHook): void {
    this.hooks.add("childStart", hook);
  }

  onChildStop(hook: WorkerHook): void {
    this.hooks.add("childStop", hook);
  }

  /** Waits for what is being published (at most `publishTimeout`), then closes the connections. Nothing keeps the process alive after it. */
  async close(): Promise<void> {
    if (processWide.currentApp === this) processWide.currentApp = undefined;
    await this.#connections.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Whether a value is an app, of whichever copy of this module. */
export function isLovage(value: unknown): value is Lovage {
  return typeof value === "object" && value !== null && BRAND in value;
}
