// #region app
import { Lovage } from "lovage";

export const app = new Lovage("numbers");

/** Waits: on the event loop of the worker, where a hundred of its kind cost next to nothing. */
export const greet = app.task("numbers.greet", async (name: string) => `Hello, ${name}`);

/** Computes: in a thread, where it holds nobody up and ends at its limit whatever it does. */
export const primesBelow = app.task({
  name: "numbers.primesBelow",
  pool: "threads",
  timeLimit: "30s",
  run(_ctx, limit: number): number {
    let count = 0;
    for (let n = 2; n < limit; n++) if (isPrime(n)) count++;
    return count;
  },
});
// #endregion

// #region soft
/** Ends itself with what it has when its soft limit is reached; at the hard limit its process is killed. */
export const primesWithin = app.task({
  name: "numbers.primesWithin",
  pool: "processes",
  softTimeLimit: "200ms",
  timeLimit: "10s",
  async run({ signal }, from: number): Promise<number[]> {
    const found: number[] = [];
    for (let n = from; !signal.aborted; n++) {
      if (isPrime(n)) found.push(n);
      if (n % 1000 === 0) await new Promise(setImmediate); // lets the signal arrive
    }
    return found;
  },
});
// #endregion

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n > 1;
}
