/**
 * Which limits each message is under, as far as this worker knows: what its code says (tasks, and the setting `queueLimits`), and what was
 * set by hand, which is read when the worker starts, when a change is heard, and every now and then in case it was not.
 * What a limit allows is the broker's to know: a number that is changed holds at once, whatever is known here.
 */
import { limitIdOf } from "../../app/limit-key.ts";
import { queueLimitName, type TaskLimit, taskLimitName } from "../../app/limit-options.ts";
import type { AnyTask } from "../../app/task.ts";
import { limitName, type Limits, type LimitSpec, type LimitTable } from "../../brokers/limits.ts";
import type { Clock, Timer } from "../../shared/clock.ts";
import { ConfigurationError } from "../../app/errors.ts";
import { errorText } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import type { Request } from "../request.ts";

export interface KnownLimitsDeps {
  readonly store: Limits;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of this app; those that cannot be run as they are defined have none. */
  readonly tasks: () => Iterable<AnyTask>;
  readonly queueLimits: ReadonlyMap<string, TaskLimit>;
  readonly refreshMs: number;
}

export class KnownLimits {
  readonly #deps: KnownLimitsDeps;
  #table: LimitTable = { declared: new Map(), set: new Map() };
  /** Task, line break, queue -> its limits. */
  readonly #plans = new Map<string, readonly TaskLimit[]>();
  #any = false;
  #isEnded = false;
  #timer: Timer | undefined;
  #onRead: () => void = () => undefined;

  constructor(deps: KnownLimitsDeps) {
    this.#deps = deps;
  }

  /** False: no message is under any, and nothing need be looked up. */
  get any(): boolean {
    return this.#any;
  }

  /** `listener` is called whenever what was set has been read. */
  onRead(listener: () => void): void {
    this.#onRead = listener;
  }

  /** Tells the broker what the code says, and reads what was set. @throws ConfigurationError, BrokerUnavailableError */
  async load(): Promise<void> {
    const specs = declaredSpecs(this.#deps.tasks(), this.#deps.queueLimits);
    await this.#deps.store.declare(specs);
    await this.#read();
  }

  /** Something may have been set since. Never rejects. */
  async refresh(): Promise<void> {
    try {
      await this.#read();
    } catch (error) {
      if (!this.#isEnded) this.#deps.logger.debug({ err: error }, `limits that were set meanwhile cannot be read: ${errorText(error)}`);
    }
    this.#plan();
  }

  stop(): void {
    this.#isEnded = true;
    this.#timer?.cancel();
  }

  /** The ids of the limits that a message is under; undefined for none. A key that cannot be told is taken for none. */
  idsOf({ received, delivery, task, options }: Request): readonly string[] | undefined {
    const limits = this.#limitsOf(received.task, delivery.queue, options.limits);
    if (limits.length === 0) return undefined;
    try {
      return limits.map(({ name, key }) => limitIdOf(name, key, received.headers, () => task.argsOf(received.body())));
    } catch (error) {
      const { task: name, id: taskId } = received;
      this.#deps.logger.error(
        { err: error, task: name, taskId },
        `the limit key of ${name}[${taskId}] cannot be told: ${errorText(error)}`,
      );
      return limits.map((limit) => limit.name);
    }
  }

  #limitsOf(task: string, queue: string, ofTask: readonly TaskLimit[]): readonly TaskLimit[] {
    const where = `${task}\n${queue}`;
    let plan = this.#plans.get(where);
    if (plan === undefined) this.#plans.set(where, (plan = this.#planOf(task, queue, ofTask)));
    return plan;
  }

  #planOf(task: string, queue: string, ofTask: readonly TaskLimit[]): readonly TaskLimit[] {
    const { set } = this.#table;
    const limits = [...ofTask];
    const ofQueue = this.#deps.queueLimits.get(queue);
    if (ofQueue !== undefined) limits.push(ofQueue);
    for (const name of [taskLimitName(task), queueLimitName(queue)])
      if (set.has(name) && !limits.some((limit) => limit.name === name)) limits.push({ name, spec: undefined, key: undefined });
    const isUnlimited = (name: string): boolean =>
      set.get(name) === null && ![...set].some(([id, spec]) => spec !== null && id !== name && limitName(id) === name);
    return limits.filter(({ name }) => !isUnlimited(name));
  }

  async #read(): Promise<void> {
    this.#table = await this.#deps.store.table();
    this.#plans.clear();
    this.#any =
      this.#table.set.size > 0 ||
      this.#deps.queueLimits.size > 0 ||
      [...this.#deps.tasks()].some(({ options }) => options.limits.length > 0);
    if (this.#timer === undefined) this.#plan();
    this.#onRead();
  }

  #plan(): void {
    this.#timer?.cancel();
    if (!this.#isEnded) this.#timer = this.#deps.clock.timer(this.#deps.refreshMs, () => void this.refresh(), { background: true });
  }
}

/** By name. @throws ConfigurationError when two give different numbers for one name */
export function declaredSpecs(tasks: Iterable<AnyTask>, queueLimits: ReadonlyMap<string, TaskLimit>): ReadonlyMap<string, LimitSpec> {
  const found = new Map<string, { readonly spec: LimitSpec | undefined; readonly by: string }>();
  const add = ({ name, spec }: TaskLimit, by: string): void => {
    const known = found.get(name);
    if (known?.spec === undefined) found.set(name, { spec, by });
    else if (spec !== undefined && JSON.stringify(known.spec) !== JSON.stringify(spec))
      throw new ConfigurationError(`the limit ${name} has other numbers in ${by} than in ${known.by}: give them in one place`);
  };
  for (const task of tasks) for (const limit of task.options.limits) add(limit, `the task ${task.name}`);
  for (const [queue, limit] of queueLimits) add(limit, `queueLimits, for the queue ${queue}`);
  return new Map([...found].map(([name, { spec }]) => [name, spec ?? { burst: 1 }]));
}
