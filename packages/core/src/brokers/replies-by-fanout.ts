/** A place for answers where all who answer and all who ask share one broker of ours: a subscription under its own key. */
import type { Broadcast, Replies } from "./broker.ts";

export function openRepliesByFanout(broadcast: Broadcast, exchange: string, routingKey: string): Replies {
  const closed = new AbortController();
  const arriving = broadcast.subscribe(exchange, routingKey, closed.signal);
  return {
    async *messages(signal) {
      const end = (): void => closed.abort();
      signal.addEventListener("abort", end, { once: true });
      if (signal.aborted) return;
      try {
        yield* arriving;
      } finally {
        signal.removeEventListener("abort", end);
      }
    },
    async [Symbol.asyncDispose]() {
      closed.abort();
    },
  };
}
