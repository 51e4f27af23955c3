import type { DeliveryInfo, Message } from "../protocol/message.ts";

/** Names one loan of one worker; meaningless elsewhere. */
export type LoanId = string & { readonly __loan: unique symbol };

/** One message on loan to this worker until it is settled or the worker's lease runs out. */
export interface Delivery {
  readonly loan: LoanId;
  /** The queue it was taken from, without any priority suffix. */
  readonly queue: string;
  /** How often a worker died or lost its lease with it, of all times but the first only those at which it had begun (`losses.ts`). 0 for a first delivery. */
  readonly losses: number;
  /** The text or bytes exactly as the broker had them: what a dead letter keeps. */
  readonly raw: string | Uint8Array;
  /** Decodes the envelope, at most once. @throws ProtocolError when it is not one. */
  open(): OpenedDelivery;
}

export interface OpenedDelivery {
  readonly message: Message;
  readonly info: DeliveryInfo;
}
