/**
 * Asks sentinels who the master is: all at once, so that one that is silent costs no more than its time to answer, and believes
 * the newest answer (the highest `config-epoch`), so that one that was cut off and does not know of a failover is outvoted.
 */
import { asPairs } from "./answers.ts";
import type { ResolverDeps } from "./resolver.ts";
import type { RedisRoute } from "./target.ts";

export interface MasterPlace {
  readonly host: string;
  readonly port: number;
}

type SentinelRoute = Extract<RedisRoute, { kind: "sentinel" }>;

interface Told extends MasterPlace {
  readonly epoch: number;
}

/**
 * undefined: no sentinel that may be believed knows one that is up.
 * @throws what all of them failed with, when all did
 */
export async function askForMaster(route: SentinelRoute, deps: ResolverDeps, signal: AbortSignal): Promise<MasterPlace | undefined> {
  const answers = await Promise.allSettled(
    route.sentinels.map(async (sentinel) => {
      const limits = { connectTimeoutMs: route.askMs, socketTimeoutMs: route.askMs };
      return asPairs(await deps.ask(sentinel, limits, deps.clock, "SENTINEL", ["MASTER", route.masterName], signal));
    }),
  );
  let best: Told | undefined;
  for (const answer of answers) {
    const told = answer.status === "fulfilled" ? believable(answer.value, route.minOtherSentinels) : undefined;
    if (told && (!best || told.epoch > best.epoch)) best = told;
  }
  const [first] = answers;
  if (!best && first?.status === "rejected" && answers.every(({ status }) => status === "rejected")) throw first.reason;
  return best;
}

/** As redis-py, `Sentinel.check_master_state`. */
function believable(pairs: readonly (readonly [string, string])[], minOtherSentinels: number): Told | undefined {
  const fields = new Map(pairs);
  const flags = new Set((fields.get("flags") ?? "").split(","));
  const port = Number(fields.get("port"));
  const host = fields.get("ip") ?? "";
  if (!flags.has("master") || flags.has("s_down") || flags.has("o_down") || host === "" || !(port > 0)) return undefined;
  if (Number(fields.get("num-other-sentinels") ?? 0) < minOtherSentinels) return undefined;
  return { host, port, epoch: Number(fields.get("config-epoch") ?? 0) };
}
