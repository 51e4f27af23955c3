/** Waiting that can be given up. */
import { onAbort } from "../../shared/abort.ts";

/** Settles as `promise` does, or rejects with the signal's reason as soon as it aborts. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await promise;
  if (signal.aborted) {
    promise.catch(() => undefined); // nobody hears of it any more
    throw signal.reason;
  }
  return await new Promise<T>((resolve, reject) => {
    const stopListening = onAbort(signal, () => reject(signal.reason)); // many may wait with one deadline
    promise.then(
      (value) => {
        stopListening();
        resolve(value);
      },
      (error: unknown) => {
        stopListening();
        reject(error);
      },
    );
  });
}
