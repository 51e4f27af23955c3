import type { Fairness } from "../fairness.ts";
import type { MemoryStore } from "./store.ts";

export function memoryFairness(store: MemoryStore): Fairness {
  return {
    page: async (queue, options) => {
      const { line, unsorted } = store.fair(queue);
      return line.page(unsorted, options);
    },
    set: async (queue, key, change) => {
      store.fair(queue).line.set(key, change);
      store.wake(queue);
    },
    release: async (queue) => store.releaseFair(queue),
    tidy: async () => false, // loans are counted as they end, and all of it ends with the process
  };
}
