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
    const { losses, hasBegun } = delivery;
    return await this.#put(delivery, () => withLosses(replaceMessage(delivery.raw, message), losses, hasBegun));
  }

  async begin(delivery: Delivery): Promise<LoanAnswer> {
    if (!(delivery instanceof RedisDelivery)) return "lost";
    const { raw, losses } = delivery;
    if (losses === 0) return "settled";
    delivery.hasBegun = true;
    return await this.#put(delivery, () => withLosses(raw.toString(), losses, true));
  }

  async #put(delivery: RedisDelivery, envelopeOf: () => string): Promise<LoanAnswer> {
    if (delivery.isFanout) return "settled"; // there is no loan, and nobody whom it would be given to
    const key = this.#loansKeyOf(delivery);
    if (key === undefined) return "lost";
    const envelope = envelopeOf();
    delivery.standing = envelope;
    const there = await askingAgain(
      this.#context,
      async (connection) => await connection.script(checkpointScript, [key], [delivery.loan, envelope]),
    );
    return there === 1 ? "settled" : "lost";
  }
}
