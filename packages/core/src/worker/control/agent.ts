/**
 * Hears the control messages of all workers and answers those that are for this one. Apart from the path of tasks: it is
 * answered while every slot is busy. Whatever is sent, it is carried out, answered with an error, or refused; never more.
 */
import type { Broadcast } from "../../brokers/broker.ts";
import { decodeControlRequest, encodeControlReply, type ReceivedControlRequest } from "../../protocol/control.ts";
import type { DecodeLimits } from "../../protocol/limits.ts";
import type { Message } from "../../protocol/message.ts";
import { pythonRepr } from "../../protocol/python-repr.ts";
import type { SerializerName } from "../../protocol/serializers.ts";
import type { Clock } from "../../shared/clock.ts";
import { errorText } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import { isMeant } from "./address.ts";
import { CommandError, type ControlledNode, NO_ANSWER } from "./command.ts";
import { COMMANDS } from "./commands.ts";

export interface AgentDeps {
  readonly broadcast: Broadcast;
  readonly node: ControlledNode;
  /** The setting `controlExchange`: the exchange is `<this>.pidbox`, answers go to `reply.<this>.pidbox`. */
  readonly namespace: string;
  readonly accept: ReadonlySet<string>;
  readonly serializer: SerializerName;
  readonly clock: Clock;
  readonly logger: Logger;
  /** ms since 1970, by the broker's clock. */
  brokerNow(): number;
  /** Messages may have been missed before now. */
  subscribed(): void;
}

/** A command is a few names; a list of revoked tasks is the largest. */
const LIMITS: DecodeLimits = { maxBytes: 8 * 1024 * 1024, maxDepth: 20 };
/** Clocks differ. A command whose time has been over for longer would come as a surprise. */
const LATE_MS = 30_000;
const ADDRESS_MAX = 255;
/** What is refused is logged so often at most. */
const REFUSED_LOG_MS = 1000;

export class ControlAgent {
  readonly #deps: AgentDeps;
  readonly #ending = new AbortController();
  #listening: Promise<void> = Promise.resolve();
  #refusedLogAt = Number.NEGATIVE_INFINITY;

  constructor(deps: AgentDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { broadcast, namespace, subscribed } = this.#deps;
    const messages = broadcast.subscribe(`${namespace}.pidbox`, "", this.#ending.signal, { subscribed });
    this.#listening = this.#listen(messages);
  }

  async stop(): Promise<void> {
    this.#ending.abort(new Error("the worker has stopped"));
    await this.#listening;
  }

  async #listen(messages: AsyncIterable<Message>): Promise<void> {
    const { logger } = this.#deps;
    try {
      for await (const message of messages) void this.#take(message);
    } catch (error) {
      logger.error({ err: error }, `remote control is not heard any more: ${errorText(error)}`);
    }
  }

  /** Never rejects. */
  async #take(message: Message): Promise<void> {
    const { node, accept, logger, clock } = this.#deps;
    try {
      const request = decodeControlRequest(message, { accept, limits: LIMITS });
      node.lamport.adjust(request.clock);
      if (isMeant(request, node.name)) await this.#answer(request, await this.#carryOut(request));
    } catch (error) {
      if (clock.monotonic() < this.#refusedLogAt + REFUSED_LOG_MS) return;
      this.#refusedLogAt = clock.monotonic();
      logger.warn({ err: error }, `a control message was refused: ${errorText(error)}`);
    }
  }

  async #carryOut(request: ReceivedControlRequest): Promise<unknown> {
    const { node, logger, brokerNow } = this.#deps;
    const { method, expiresAt } = request;
    const command = COMMANDS.get(method);
    if (expiresAt !== undefined && expiresAt + LATE_MS < brokerNow() && command?.isLasting !== true) {
      logger.warn({ method: method.slice(0, 100) }, `the command ${method.slice(0, 100)} came too late and is not carried out`);
      return NO_ANSWER;
    }
    logger.debug({ method, ticket: request.ticket }, `pidbox received method ${method}`);
    try {
      if (command === undefined) throw new UnknownCommandError(method);
      return await command.run(node, request.arguments, request);
    } catch (error) {
      logger.error({ err: error, method: method.slice(0, 100) }, `pidbox command error: ${exceptionRepr(error)}`);
      return { error: exceptionRepr(error) };
    }
  }

  async #answer({ replyTo, ticket }: ReceivedControlRequest, value: unknown): Promise<void> {
    const { broadcast, node, namespace, serializer, logger } = this.#deps;
    if (replyTo === undefined || ticket === undefined || value === NO_ANSWER) return;
    // Anywhere else an answer would be a message in somebody's queue of tasks.
    if (replyTo.exchange !== `reply.${namespace}.pidbox` || replyTo.routingKey.length > ADDRESS_MAX)
      throw new CommandError("ValueError", "answers go to the exchange for replies only");
    const reply = encodeControlReply({ ticket, node: node.name, value }, { serializer, clock: node.lamport.forward() });
    try {
      await broadcast.reply(reply, replyTo.exchange, replyTo.routingKey);
    } catch (error) {
      logger.warn({ err: error }, `a command could not be answered: ${errorText(error)}`); // who asked has stopped waiting by then
    }
  }
}

class UnknownCommandError extends Error {}

/** As Python's `repr` of the exception that Celery's handler would have raised. */
function exceptionRepr(error: unknown): string {
  const text = pythonRepr(errorText(error), 500);
  if (error instanceof UnknownCommandError) return `KeyError(${text})`;
  return error instanceof CommandError ? `${error.type}(${text})` : `RuntimeError(${text})`;
}
