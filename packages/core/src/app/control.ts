/**
 * Remote control: commands to workers, Lovage's and Python's, by Celery's protocol, and their answers. `app.control`.
 *
 * A command goes to every worker that is there; nobody knows how many those are. So answers are waited for until none has
 * come for `timeout`, or until as many have come as workers were named.
 */
import { decodeControlReply, encodeControlRequest } from "../protocol/control.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import type { Broadcast, Replies } from "../brokers/broker.ts";
import type { Message } from "../protocol/message.ts";
import type { Timer } from "../shared/clock.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { parseRate, RATE_ACCEPTED } from "../shared/rate.ts";
import { errorText } from "../shared/errors.ts";
import { newId } from "../shared/ids.ts";
import type { Lovage } from "./app.ts";
import { CallError, UnsupportedByBrokerError } from "./errors.ts";
import { stampMark, type StampValue, taskMark } from "./revocation-marks.ts";
import { storeRevoked } from "./revoked-results.ts";

/** Which workers are meant; all when nothing is given. */
export interface ControlTarget {
  /** Node names: `celery@host`. */
  readonly destination?: string | readonly string[];
  /** Matches node names, as `matcher` says. Not together with `destination`. */
  readonly pattern?: string;
  /** `glob`: as file names are matched; the default. `pcre`: a regular expression, from the beginning of the name. */
  readonly matcher?: "glob" | "pcre";
}

export interface ControlOptions extends ControlTarget {
  /** Waits for answers. Default false for what changes something, true for `ping`. */
  readonly reply?: boolean;
  /** Without an answer for so long, no more are waited for. Default 1 s. */
  readonly timeout?: Duration;
  /** Answers at most. Default: as many as `destination` names. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
  /** Told of each answer as it comes. */
  readonly onReply?: (reply: NodeReply) => void;
}

export interface NodeReply {
  /** Of the worker: `celery@host`. */
  readonly node: string;
  /** `{ ok: ... }` or `{ error: text }` from most commands. */
  readonly value: unknown;
}

export interface RevokeOptions extends Omit<ControlOptions, "signal"> {
  /** Also end the task when it runs already and does not heed its signal. Default false. */
  readonly terminate?: boolean;
  /** For that: SIGTERM, the default, gives it a moment; SIGKILL none. Python workers send it to the process that runs the task. */
  readonly signal?: string;
}

const TIMEOUT_S = 1;
/** Ids in one message. */
const PORTION = 1000;
const REPLIES_MAX = 10_000;
const ID_MAX = 1000;

export class Control {
  readonly #app: Lovage;

  constructor(app: Lovage) {
    this.#app = app;
  }

  /** Which workers are there: each answers `{ ok: "pong" }`. */
  ping(options: ControlOptions = {}): Promise<readonly NodeReply[]> {
    return this.broadcast("ping", {}, { reply: true, ...options });
  }

  /**
   * Does not let these tasks run. The broker remembers it (`revocationTtl`), so that it holds for workers that start later; whoever waits
   * for their results is told at once. Of a task that runs, the `signal` aborts; with `terminate` it is ended.
   * With a `destination` or a `pattern` only those workers are told, and nothing is remembered, as in Celery.
   * @throws CallError for an id that is none, UnsupportedByBrokerError, BrokerUnavailableError
   */
  async revoke(ids: string | readonly string[], options: RevokeOptions = {}): Promise<readonly NodeReply[]> {
    const list = [...new Set(typeof ids === "string" ? [ids] : ids)];
    if (!list.every((id) => typeof id === "string" && id !== "" && id.length <= ID_MAX))
      throw new CallError("", "revoke() takes ids of tasks");
    const { terminate = false, signal = "SIGTERM", ...answers } = options;
    const isKept = await this.#keep(list.map(taskMark), options);
    const replies: NodeReply[] = [];
    for (let from = 0; from < list.length; from += PORTION) {
      const portion = list.slice(from, from + PORTION);
      const args = { task_id: portion.length === 1 ? portion[0] : portion, terminate, signal };
      replies.push(...(await this.#send("revoke", args, answers, isKept)));
    }
    if (isForAll(options)) await this.#tellResults(list);
    return replies;
  }

  /** As `revoke` with `terminate`. */
  terminate(ids: string | readonly string[], options: Omit<RevokeOptions, "terminate"> = {}): Promise<readonly NodeReply[]> {
    return this.revoke(ids, { ...options, terminate: true });
  }

  /** Does not let tasks run that bear one of these stamps: `{ tenant: ["a", "b"] }`. Remembered as `revoke` is. */
  async revokeByStampedHeaders(
    headers: Readonly<Record<string, StampValue | readonly StampValue[]>>,
    options: RevokeOptions = {},
  ): Promise<readonly NodeReply[]> {
    const { terminate = false, signal = "SIGTERM", ...answers } = options;
    const marks = Object.entries(headers).flatMap(([name, values]) =>
      (typeof values === "object" ? values : [values]).map((value) => stampMark(name, value)),
    );
    const isKept = await this.#keep(marks, options);
    return await this.#send("revoke_by_stamped_headers", { headers, terminate, signal }, answers, isKept);
  }

  /**
   * At most so many starts of a task in each worker that hears it, until it stops: `"100/m"`, `"10/s"`, `"1/h"`, or a number
   * per second; null or 0 for no limit.
   * @throws CallError for what is no rate
   */
  rateLimit(task: string, rate: string | number | null, options: ControlOptions = {}): Promise<readonly NodeReply[]> {
    if (rate !== null && parseRate(rate) === undefined)
      throw new CallError(task, `the rate limit of ${task} is ${JSON.stringify(rate)}: it takes ${RATE_ACCEPTED}`);
    const rateText = typeof rate === "number" && rate > 0 ? `${rate}/s` : rate === 0 ? null : rate;
    return this.broadcast("rate_limit", { task_name: task, rate_limit: rateText }, options);
  }

  /** Asks workers to stop warm, and not to be started again by their supervisor. They do not answer. */
  async shutdown(options: ControlTarget = {}): Promise<void> {
    await this.broadcast("shutdown", {}, options);
  }

  /** Takes no more tasks; what runs goes on. Lovage workers only. */
  quiet(options: ControlOptions = {}): Promise<readonly NodeReply[]> {
    return this.broadcast("quiet", {}, options);
  }

  /** Takes tasks again, after `quiet`. */
  resume(options: ControlOptions = {}): Promise<readonly NodeReply[]> {
    return this.broadcast("resume", {}, options);
  }

  /**
   * Sends any command, Celery's or one of an application's own. Resolves with the answers, none when no `reply` is wanted.
   * @throws UnsupportedByBrokerError, BrokerUnavailableError, the signal's reason
   */
  broadcast(command: string, args: Readonly<Record<string, unknown>> = {}, options: ControlOptions = {}): Promise<readonly NodeReply[]> {
    return this.#send(command, args, options, false);
  }

  async #send(
    command: string,
    args: Readonly<Record<string, unknown>>,
    options: ControlOptions,
    isKept: boolean,
  ): Promise<readonly NodeReply[]> {
    const { settings, clock, lamport } = this.#app;
    const broadcast = await this.#broadcast();
    const timeoutMs = readTimeout(options.timeout);
    const request = { method: command, arguments: args, ...readTarget(options), isKept };
    const exchange = `${settings.controlExchange}.pidbox`;
    const encode = (more: {
      readonly ticket?: string;
      readonly replyTo?: { readonly exchange: string; readonly routingKey: string };
    }): Message =>
      encodeControlRequest(
        { ...request, ...more },
        { serializer: settings.taskSerializer, clock: lamport.forward(), expiresAt: clock.now() + timeoutMs },
      );
    options.signal?.throwIfAborted();
    if (options.reply !== true) {
      await broadcast.publish(encode({}), exchange, "");
      return [];
    }
    const replyTo = { exchange: `reply.${exchange}`, routingKey: newId() };
    const ticket = newId();
    await using replies = await broadcast.openReplies(replyTo.exchange, replyTo.routingKey);
    await broadcast.publish(encode({ ticket, replyTo }), exchange, "");
    return await this.#collect(replies, ticket, timeoutMs, options);
  }

  async #collect(replies: Replies, ticket: string, timeoutMs: number, options: ControlOptions): Promise<readonly NodeReply[]> {
    const { clock, lamport, settings } = this.#app;
    const accept = contentTypesFor(settings.acceptContent);
    const { destination } = readTarget(options);
    const limit = options.limit ?? destination?.length ?? REPLIES_MAX;
    const enough = new AbortController();
    const ending = options.signal ? AbortSignal.any([enough.signal, options.signal]) : enough.signal;
    const found: NodeReply[] = [];
    let timer: Timer | undefined;
    const waitOn = (): void => {
      timer?.cancel();
      timer = clock.timer(timeoutMs, () => enough.abort());
    };
    waitOn();
    try {
      for await (const message of replies.messages(ending)) {
        const heard = readReplies(message, accept, ticket);
        if (heard.length === 0) continue;
        lamport.adjust(Number(message.headers.clock));
        for (const reply of heard) {
          found.push(reply);
          options.onReply?.(reply);
        }
        if (found.length >= limit) break;
        waitOn();
      }
    } finally {
      timer?.cancel();
    }
    options.signal?.throwIfAborted();
    return found;
  }

  /** Whether the broker remembers them now. */
  async #keep(marks: readonly string[], target: ControlTarget): Promise<boolean> {
    if (!isForAll(target)) return false;
    const { revocations } = await this.#app.broker();
    if (revocations === undefined) return false;
    const crowdedOut = await revocations.add(marks);
    if (crowdedOut > 0)
      this.#app.logger.warn(
        { crowdedOut },
        `the broker remembers ${this.#app.settings.revocationsMax} revoked tasks (revocationsMax): ${crowdedOut} older ones made room and are not revoked any more`,
      );
    return true;
  }

  /** The revoke stands without it: a worker stores it when it comes to the message. */
  async #tellResults(ids: readonly string[]): Promise<void> {
    try {
      await storeRevoked(this.#app, ids);
    } catch (error) {
      this.#app.logger.warn({ err: error }, `the results of revoked tasks do not say so yet: ${errorText(error)}`);
    }
  }

  async #broadcast(): Promise<Broadcast> {
    const broker = await this.#app.broker();
    if (!broker.broadcast) throw new UnsupportedByBrokerError("remote control", broker.kind);
    return broker.broadcast;
  }
}

const isForAll = ({ destination, pattern }: ControlTarget): boolean => destination === undefined && pattern === undefined;

function readTarget({ destination, pattern, matcher = "glob" }: ControlTarget): {
  readonly destination?: readonly string[];
  readonly pattern?: string;
  readonly matcher?: "glob" | "pcre";
} {
  if (destination !== undefined) {
    const names = typeof destination === "string" ? [destination] : [...destination];
    // An empty list is everybody on the wire: surely not what was meant.
    if (names.length === 0) throw new CallError("", "destination names no worker: leave it out to reach all");
    return { destination: names };
  }
  return pattern === undefined ? {} : { pattern, matcher };
}

function readTimeout(timeout: Duration = TIMEOUT_S): number {
  const ms = parseDuration(timeout);
  if (ms === undefined) throw new CallError("", `timeout of a command is not accepted: it takes ${DURATION_ACCEPTED}`);
  return ms;
}

/** Anybody may write into the place for answers: what cannot be read is passed over. */
function readReplies(message: Message, accept: ReadonlySet<string>, ticket: string): readonly NodeReply[] {
  try {
    return decodeControlReply(message, { accept })
      .filter((reply) => reply.ticket === ticket)
      .map(({ node, value }) => ({ node, value }));
  } catch {
    return [];
  }
}
