/** Sends calls of tasks: has them written (`call-encoder.ts`), hands them to the producer, and makes the results that callers hold. */
import { begunOf, type ResultTuple } from "../canvas/result-tuple.ts";
import { type PlannedCall, unroll } from "../canvas/unroll.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Clock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import { isEmpty } from "../shared/is-empty.ts";
import type { Lovage } from "./app.ts";
import { AsyncResult } from "./async-result.ts";
import { CallEncoder, type CallParent, type Prepared } from "./call-encoder.ts";
import { checkCallOptions, type CallOptions, type Kwargs, readCallOption, type TaskCall } from "./call-options.ts";
import { EagerResult } from "./eager.ts";
import { EagerWorkflow } from "./eager-workflow.ts";
import { type AnyResult, resultOf } from "./group-result.ts";
import { currentTask } from "./process-wide.ts";
import type { Producer, Sending } from "./producer.ts";
import type { RoutingTable } from "./routing.ts";
import type { RunningTask } from "./running-task.ts";
import { readPublishRetryPolicy } from "./setting-values.ts";
import type { RemoteTask, Task } from "./task.ts";
import type { TaskContext } from "./task-context.ts";
import { toCallOptions } from "./wire-options.ts";

type Handle = Pick<RemoteTask, "name" | "defaults">;

/** Messages of a workflow that are written together, and such portions that are on their way beside the newest. */
const PLANNED_AT_ONCE = 500;
const PLANNED_BATCHES = 3;

const NO_KWARGS: Kwargs = Object.freeze({});
const NO_OPTIONS: CallOptions = Object.freeze({});

export class Calls {
  readonly #app: Lovage;
  readonly #producer: () => Producer;
  readonly #encoder: CallEncoder;

  constructor(app: Lovage, clock: Clock, producer: () => Producer) {
    this.#app = app;
    this.#encoder = new CallEncoder(app, clock);
    this.#producer = producer;
  }

  get routing(): RoutingTable {
    return this.#encoder.routing;
  }

  /** Celery's oid: replies to this client go there. */
  get replyTo(): string {
    return this.#encoder.replyTo;
  }

  async send<Result>(
    handle: Handle,
    args: readonly unknown[],
    kwargs: Kwargs | undefined,
    options: CallOptions | undefined,
  ): Promise<AsyncResult<Result>> {
    const prepared = this.#encoder.prepare(handle.name);
    const all = handle.defaults === NO_OPTIONS || isEmpty(handle.defaults) ? options : { ...handle.defaults, ...options };
    if (all !== undefined) checkCallOptions(handle.name, all);
    if (this.#app.settings.taskAlwaysEager && prepared.ownTask)
      return this.runEagerly(prepared.ownTask, args, kwargs ?? NO_KWARGS, all ?? NO_OPTIONS, true);
    const running = currentTask();
    const sending = this.#encoder.encode(handle.name, prepared, args, kwargs ?? NO_KWARGS, all, running);
    if (all !== undefined) this.#setRetry(sending, all);
    const { awaitedSends } = this.#app.results;
    const producer = this.#producer();
    const sent = producer.hand(sending);
    awaitedSends.sending(sending.taskId); // after the message: it can run while its result is subscribed to
    const failure = await sent;
    const error = failure && producer.failureOf(sending, failure);
    if (error) {
      awaitedSends.failed(sending.taskId);
      throw error;
    }
    if (sending.heldBy === undefined) awaitedSends.sent(sending.taskId);
    else awaitedSends.failed(sending.taskId);
    if (running) recordChild(running, prepared, sending.heldBy ?? sending.taskId, all);
    return this.#resultOf<Result>(sending);
  }

  async sendMany<Result>(calls: readonly TaskCall<Result>[]): Promise<AsyncResult<Result>[]> {
    if (this.#app.settings.taskAlwaysEager) {
      return Promise.all(
        calls.map((call) => this.send<Result>({ name: call.name, defaults: NO_OPTIONS }, call.args, call.kwargs, call.options)),
      );
    }
    const running = currentTask();
    const sendings = calls.map((call) => this.#prepare(call, running));
    await this.#producer().sendMany(sendings);
    if (running)
      for (const [index, sending] of sendings.entries())
        recordChild(running, this.#encoder.prepare(sending.task), sending.heldBy ?? sending.taskId, calls[index]?.options);
    return sendings.map((sending) => this.#resultOf<Result>(sending));
  }

  #resultOf<Result>({ taskId, heldBy }: Sending): AsyncResult<Result> {
    if (heldBy === undefined) return new AsyncResult<Result>(this.#app, taskId);
    return new AsyncResult<Result>(this.#app, heldBy, undefined, undefined, true);
  }

  /** A call checked, routed and written as its message, and not sent: for those who send it later, such as an outbox. */
  prepare(call: TaskCall): Sending {
    return this.#prepare(call, currentTask());
  }

  #prepare({ name, args, kwargs, options }: TaskCall, running: CallParent | undefined): Sending {
    const given = options === undefined || isEmpty(options) ? undefined : options;
    if (given !== undefined) checkCallOptions(name, given);
    const sending = this.#encoder.encode(name, this.#encoder.prepare(name), args, kwargs ?? NO_KWARGS, given, running);
    if (given !== undefined) this.#setRetry(sending, given);
    return sending;
  }

  /** Sends what `prepare` made. @throws PublishFailedError, PublishTimeoutError, AppClosedError */
  publish(sendings: readonly Sending[]): Promise<void> {
    return this.#producer().sendMany(sendings);
  }

  /** Sends all that begins a workflow. Answers with the result tuple of the whole. */
  async sendSignature(
    signature: SignatureData,
    args: readonly unknown[],
    kwargs: Kwargs,
    options: Readonly<Record<string, unknown>>,
    addToParent = true,
  ): Promise<ResultTuple> {
    if (this.#app.settings.taskAlwaysEager) return (await this.runSignatureEagerly(signature, args, kwargs, options, true)).tuple;
    const plan = unroll(signature, { args, kwargs, options, replyTo: this.replyTo });
    const running = currentTask();
    const first = this.planned(plan.calls.slice(0, PLANNED_AT_ONCE), running); // what cannot be written leaves nothing behind
    await this.#app.results.beginGroups(plan);
    await this.#sendPlanned(plan.calls, first, running);
    if (running && addToParent && "addChild" in running) for (const child of begunOf(plan.result)) (running as RunningTask).addChild(child);
    return plan.result;
  }

  /** A few at a time, so that a long header takes neither the memory nor the `publishTimeout` of all its messages together. Stops at the first failure. */
  async #sendPlanned(calls: readonly PlannedCall[], first: readonly Sending[], parent: CallParent | undefined): Promise<void> {
    const underWay: Promise<void>[] = [];
    try {
      for (let from = 0; from < calls.length; from += PLANNED_AT_ONCE) {
        const sendings = from === 0 ? first : this.planned(calls.slice(from, from + PLANNED_AT_ONCE), parent);
        const sending = this.#producer().sendMany(sendings);
        sending.catch(() => undefined); // heard below
        underWay.push(sending);
        if (underWay.length > PLANNED_BATCHES) await underWay.shift();
      }
    } finally {
      await Promise.all(underWay);
    }
  }

  /** The messages of planned calls. `parent`: the task that they follow. */
  planned(calls: readonly PlannedCall[], parent: CallParent | undefined): readonly Sending[] {
    return calls.map(({ task, routeAs, args, kwargs, options }) => {
      const prepared = this.#encoder.prepare(routeAs);
      const given = toCallOptions(options);
      const sending = this.#encoder.encode(
        task,
        task === routeAs ? prepared : { ...prepared, options: undefined },
        args,
        kwargs,
        given,
        parent,
        false, // the rest of a workflow waits for its steps: none of them gives way to a task outside
      );
      this.#setRetry(sending, given);
      return sending;
    });
  }

  /** @param isAlways the setting `taskAlwaysEager` asked for it, so `taskEagerPropagates` counts */
  async runEagerly<Result>(
    task: Task,
    args: readonly unknown[],
    kwargs: Kwargs,
    options: CallOptions,
    isAlways = false,
  ): Promise<EagerResult<Result>> {
    checkCallOptions(task.name, options);
    const taskId = options.taskId ?? newId();
    const workflow = new EagerWorkflow(this.#app);
    await workflow.runCall({ name: task.name, args, kwargs, options: { ...options, taskId }, parent: currentTask() });
    const result = new EagerResult<Result>(this.#app, taskId, workflow);
    if (isAlways && this.#app.settings.taskEagerPropagates) await result.get();
    return result;
  }

  /** Runs a whole workflow here and now, without a broker. `isAlways` as above. */
  async runSignatureEagerly(
    signature: SignatureData,
    args: readonly unknown[],
    kwargs: Kwargs,
    options: Readonly<Record<string, unknown>>,
    isAlways = false,
  ): Promise<{ readonly tuple: ResultTuple; readonly result: AnyResult }> {
    const plan = unroll(signature, { args, kwargs, options, replyTo: this.replyTo });
    const workflow = new EagerWorkflow(this.#app);
    await workflow.run(plan, currentTask());
    const result = resultOf(this.#app, plan.result, workflow);
    if (isAlways && this.#app.settings.taskEagerPropagates) await result.get();
    return { tuple: plan.result, result };
  }

  /** Where the call says nothing it is the producer's own, so that it shares a batch with others. */
  #setRetry(sending: Sending, { retry, retryPolicy }: CallOptions): void {
    if (retry === false) sending.retry = null;
    else if (retryPolicy !== undefined)
      sending.retry = readCallOption(sending.task, "retryPolicy", "an object", () => readPublishRetryPolicy(retryPolicy));
    else if (retry === true) sending.retry = this.#app.settings.taskPublishRetryPolicy;
  }
}

function recordChild(running: TaskContext, prepared: Prepared, id: string, options: CallOptions | undefined): void {
  if ((options?.addToParent ?? true) && prepared.options?.trail !== false && "addChild" in running) {
    const child: ResultTuple = [[id, null], null];
    (running as RunningTask).addChild(child);
  }
}
