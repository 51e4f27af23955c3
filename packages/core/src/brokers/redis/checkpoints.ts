/** Headers written into messages on loan: the envelope in the worker's loans is replaced, one field of a hash. */
import type { Message } from "../../protocol/message.ts";
import { replaceMessage } from "../../protocol/replace-message.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { Checkpoints, Delivery, LoanAnswer } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { RedisDelivery } from "./delivery.ts";
import { askingAgain } from "./failures.ts";
import { withLosses } from "./losses.ts";

const checkpointScript = loadScript("checkpoint");

/** Whose loan it is; undefined when it is nobody's of this process any more. */
export type LoansKeyOf = (delivery: RedisDelivery) => string | undefined;

export class RedisCheckpoints implements Checkpoints {
  readonly #context: RedisContext;
  readonly #loansKeyOf: LoansKeyOf;

  constructor(context: RedisContext, loansKeyOf: LoansKeyOf) {
    this.#context = context;
    this.#loansKeyOf = loansKeyOf;
  }

  async write(delivery: Delivery, message: Message): Promise<LoanAnswer> {
    if (!(delivery instanceof RedisDelivery)) return "lost";
    if (delivery.isFanout) return "settled"; // there is no loan, and nobody whom it would be given to
    const key = this.#loansKeyOf(delivery);
    if (key === undefined) return "lost";
    const envelope = withLosses(replaceMessage(delivery.raw, message), delivery.losses);
    const there = await askingAgain(
      this.#context,
      async (connection) => await connection.script(checkpointScript, [key], [delivery.loan, envelope]),
    );
    return there === 1 ? "settled" : "lost";
  }
}
