/**
 * The first process of a container (id 1) inherits the ended processes whose parents are gone, and has to take note of
 * them. Node takes note of its own children only, so others stay as zombies until the container ends. All this can do
 * about it is to say so, with what helps.
 */
import { readdir, readFile } from "node:fs/promises";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";

const LOOK_EVERY_MS = 60_000;
/** A child of ours is one for a moment, until Node has heard of its end. */
const WORTH_A_WARNING = 10;

/** Looks every minute, and warns once. */
export function warnOfZombies(clock: Clock, logger: Logger): void {
  clock.timer(
    LOOK_EVERY_MS,
    () => {
      void countZombies(process.pid).then((zombies) => {
        if (zombies < WORTH_A_WARNING) return warnOfZombies(clock, logger);
        logger.warn(
          { zombies },
          `this is the first process of its container, and ${zombies} ended processes that others had started stay as zombies: start the container with an init (docker run --init, init: true in compose, or tini as ENTRYPOINT)`,
        );
      });
    },
    { background: true },
  );
}

/** Ended children of the process, that it has not taken note of. 0 where there is no /proc. */
export async function countZombies(parent: number): Promise<number> {
  const names = await readdir("/proc").catch(() => []);
  let zombies = 0;
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "latin1").catch(() => "");
    const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the name before may hold anything
    if (state === "Z" && Number(ppid) === parent) zombies += 1;
  }
  return zombies;
}
