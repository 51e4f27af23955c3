/** Which spec holds for a limit's id: set by hand for the id, else for its name, else what the code says of the name. */
import { limitName, type LimitSpec, type LimitTable } from "./limits.ts";

/** undefined: not limited. */
export function specInForce({ declared, set }: LimitTable, id: string): LimitSpec | undefined {
  const name = limitName(id);
  const byHand = set.get(id);
  const own = byHand === undefined ? set.get(name) : byHand;
  return own === undefined ? declared.get(name) : (own ?? undefined);
}
