/** The shop's side of the payment service. */
import { settings } from "./settings.ts";

/** The service did not answer, or not sensibly: the same request may well succeed later. */
export class PaymentUnavailableError extends Error {
  override readonly name = "PaymentUnavailableError";
}

/** The service answered, and the answer is no. Asking again changes nothing. */
export class CardDeclinedError extends Error {
  override readonly name = "CardDeclinedError";
}

const PATIENCE_MS = 1500;

/**
 * Takes `cents` once for each `reference`, however often it is called. Returns the receipt's number.
 * @throws CardDeclinedError, PaymentUnavailableError; `signal`'s reason when that aborts.
 */
export async function charge(reference: string, cents: number, signal: AbortSignal): Promise<string> {
  const { status, answer } = await post(reference, cents, signal);
  if (status === 201 && answer.receipt !== undefined) return answer.receipt;
  if (status === 402) throw new CardDeclinedError(answer.error ?? "The card was declined.");
  throw new PaymentUnavailableError(`The payment service answered ${status}.`);
}

async function post(reference: string, cents: number, signal: AbortSignal) {
  const timeout = AbortSignal.timeout(PATIENCE_MS);
  try {
    const response = await fetch(new URL("/charges", settings.paymentUrl), {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": reference },
      body: JSON.stringify({ cents }),
      signal: AbortSignal.any([signal, timeout]),
    });
    return { status: response.status, answer: (await response.json()) as { receipt?: string; error?: string } };
  } catch (error) {
    signal.throwIfAborted();
    const problem = timeout.aborted ? `did not answer within ${PATIENCE_MS / 1000} s` : "broke the connection";
    throw new PaymentUnavailableError(`The payment service ${problem}.`, { cause: error });
  }
}
