/**
 * Names the holder of a lease in a database file so that others can tell whether it still lives. They run on the same machine, but maybe in
 * containers that do not see each other's processes: only under the same host name a process can be known to be gone.
 */
import { hostname } from "node:os";
import { newId } from "../../shared/ids.ts";

const alive = new Set<string>();

export class LeaseOwner implements Disposable {
  /** host, process, one of its relays */
  readonly name = `${hostname()} ${process.pid} ${newId()}`;

  constructor() {
    alive.add(this.name);
  }

  [Symbol.dispose](): void {
    alive.delete(this.name);
  }
}

/** True only when it is certain. */
export function isGone(owner: string): boolean {
  const [host, pid] = owner.split(" ");
  if (host !== hostname()) return false;
  if (Number(pid) === process.pid) return !alive.has(owner); // its number is ours now
  try {
    process.kill(Number(pid), 0); // asks, and does nothing
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
