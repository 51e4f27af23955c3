import { setMaxListeners } from "node:events";

/**
 * Calls `listener` once the signal aborts. The function given back takes it away again.
 *
 * Any number may wait with one signal (all that a web request waits for, say): Node's warning of a leak, which it prints at eleven,
 * is for listeners that are forgotten.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  setMaxListeners(0, signal);
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

/** Resolves when the signal aborts, or at once when it has. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else onAbort(signal, resolve);
  });
}
