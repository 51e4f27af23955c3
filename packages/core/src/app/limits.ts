/** Limits for the whole cluster, by hand: `app.limits`. What is set here is kept by the broker and holds for all workers, now and later. */
import { limitName, type Limits, type LimitSpec } from "../brokers/limits.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { errorText } from "../shared/errors.ts";
import { didYouMean } from "../shared/suggest.ts";
import type { Lovage } from "./app.ts";
import { CallError, UnsupportedByBrokerError } from "./errors.ts";
import { limitId } from "./limit-key.ts";
import { isLimitName, type LimitNumbers, queueLimitName, readNumbers, taskLimitName } from "./limit-options.ts";
import { NotAccepted } from "./setting-kinds.ts";

export interface LimitReport {
  readonly name: string;
  /** undefined: the limit as a whole, or one without keys. */
  readonly key: string | undefined;
  /** Starts per second; undefined: any number. */
  readonly ratePerSecond: number | undefined;
  readonly burst: number;
  /** Tasks at once; undefined: any number. */
  readonly concurrency: number | undefined;
  /** By hand, not by the code. */
  readonly isSet: boolean;
  readonly waiting: number;
  /** Under a limit of tasks at once; 0 for others. */
  readonly running: number;
  /** ms until its rate, or a hold, lets the next one start; 0: now. */
  readonly nextStartInMs: number;
}

export interface LimitTarget {
  /** Only this key of the limit. */
  readonly key?: string | number;
}

const REPORTS = 1000;
/** Of limits, in an error. */
const NAMED = 10;

export class ClusterLimits {
  readonly #app: Lovage;

  constructor(app: Lovage) {
    this.#app = app;
  }

  /** Limits with what waits and runs under them; those with most waiting first, at most `max` (1000). @throws UnsupportedByBrokerError, BrokerUnavailableError */
  async list({ max = REPORTS }: { readonly max?: number } = {}): Promise<readonly LimitReport[]> {
    const states = await (await this.#limits()).states(max);
    const reports = states.map(({ id, spec, isSetByHand, waiting, running, nextStartInMs }): LimitReport => {
      const name = limitName(id);
      return {
        name,
        key: name === id ? undefined : id.slice(name.length + 1),
        ratePerSecond: spec?.intervalMs === undefined ? undefined : 1000 / spec.intervalMs,
        burst: spec?.burst ?? 1,
        concurrency: spec?.concurrency,
        isSet: isSetByHand,
        waiting,
        running,
        nextStartInMs,
      };
    });
    return reports.toSorted((a, b) => b.waiting - a.waiting || a.name.localeCompare(b.name));
  }

  /**
   * From now on, in place of what the code says: `set("task:shop.add", { rate: "50/s" })`, `set("queue:mail", { concurrency: 4 })`. null: no limit.
   * Holds at once for what waits, and within a second for tasks that had no such limit.
   * @throws CallError for what is no limit, and for a name of its own that no code has given a limit
   */
  async set(name: string, numbers: LimitNumbers | null, target: LimitTarget = {}): Promise<void> {
    await this.#change(name, target, numbers === null ? null : readSpec(name, numbers));
  }

  /** As the code says again. @throws CallError for a name of its own that no code has given a limit */
  async clear(name: string, target: LimitTarget = {}): Promise<void> {
    await this.#change(name, target, undefined);
  }

  /**
   * Nothing under this limit starts for so long, but for the few that have their start already.
   * @throws CallError when there is no such limit: nothing would be held back
   */
  async hold(name: string, duration: Duration, target: LimitTarget = {}): Promise<void> {
    const ms = parseDuration(duration);
    if (ms === undefined) throw new CallError("", `a hold takes ${DURATION_ACCEPTED}`);
    const id = idOf(name, target);
    const limits = await this.#limits();
    await this.#mustBeKnown(limits, name);
    await limits.holdBack([id], ms);
  }

  async #change(name: string, target: LimitTarget, spec: LimitSpec | null | undefined): Promise<void> {
    const id = idOf(name, target);
    const limits = await this.#limits();
    if (!isOfTaskOrQueue(name)) await this.#mustBeKnown(limits, name); // no task would ever be under it
    await limits.set(id, spec);
    await limits.recheck([name]);
    try {
      await this.#app.control.broadcast("limits_changed", {});
    } catch (error) {
      this.#app.logger.debug({ err: error }, `workers see a changed limit when they next look: ${errorText(error)}`);
    }
  }

  /** By the code of the workers that have started, by this app's, or by hand. */
  async #mustBeKnown(limits: Limits, name: string): Promise<void> {
    const { declared, set } = await limits.table();
    const known = new Set([...declared.keys(), ...[...set.keys()].map(limitName)]);
    for (const { options } of this.#app.tasks.runnable()) for (const limit of options.limits) known.add(limit.name);
    for (const limit of this.#app.settings.queueLimits?.values() ?? []) known.add(limit.name);
    if (known.has(name)) return;
    const others = known.size === 0 ? "neither this app nor a worker that has started has any" : `known are ${nameSome(known)}`;
    throw new CallError("", `there is no limit ${name}: ${others}.${didYouMean(name, known)}`);
  }

  async #limits(): Promise<Limits> {
    const broker = await this.#app.broker();
    if (broker.limits === undefined) throw new UnsupportedByBrokerError("limits for all workers", broker.kind);
    return broker.limits;
  }
}

const isOfTaskOrQueue = (name: string): boolean => name.startsWith(taskLimitName("")) || name.startsWith(queueLimitName(""));

function nameSome(names: ReadonlySet<string>): string {
  const some = [...names].toSorted().slice(0, NAMED);
  return `${some.join(", ")}${names.size > NAMED ? `, and ${names.size - NAMED} more` : ""}`;
}

function idOf(name: string, { key }: LimitTarget): string {
  if (!isLimitName(name)) throw new CallError("", `${JSON.stringify(name)} is no name of a limit`);
  return limitId(name, key);
}

function readSpec(name: string, numbers: LimitNumbers): LimitSpec {
  try {
    return readNumbers(numbers);
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error;
    const [unknown = ""] = Object.keys(numbers).filter((key) => !["rate", "burst", "concurrency"].includes(key));
    throw new CallError("", `the limit ${name} is not accepted: ${error.message}.${didYouMean(unknown, ["rate", "burst", "concurrency"])}`);
  }
}
