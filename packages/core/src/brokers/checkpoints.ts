import type { Message } from "../protocol/message.ts";
import type { Delivery } from "./delivery.ts";
import type { LoanAnswer } from "./settlement.ts";

export interface Checkpoints {
  /**
   * Puts other headers into a message on loan, so that whoever gets it after this worker's death has them. Fenced on the
   * loan: "lost" when it is another's by now, and then nothing is written. The delivery keeps its bytes: a settlement that
   * returns the message with its text (`requeue`, `park`) must give it anew.
   * @throws BrokerUnavailableError
   */
  write(delivery: Delivery, message: Message): Promise<LoanAnswer>;
  /**
   * A message is about to begin: from now on it counts when its worker is lost, also if it was lost before. Holds for this loan alone.
   * Fenced as `write`; of a first delivery, which counts in any case, nothing is written.
   * @throws BrokerUnavailableError
   */
  begin(delivery: Delivery): Promise<LoanAnswer>;
}
