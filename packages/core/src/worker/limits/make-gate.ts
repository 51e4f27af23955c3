/** The gate of a worker, from its app and its broker. */
import type { Lovage } from "../../app/app.ts";
import type { Broker } from "../../brokers/broker.ts";
import { type GateDeps, LimitGate } from "./gate.ts";
import { KnownLimits } from "./known-limits.ts";

/** Changes are heard on the control channel; this is in case one was not. Without it, it is all there is. */
const REFRESH_MS = 30_000;
const REFRESH_UNHEARD_MS = 5000;

export interface GateSetup extends Omit<GateDeps, "limits" | "known" | "clock" | "random"> {
  readonly app: Lovage;
  readonly broker: Broker;
  /** It hears of changes by the control channel. */
  readonly isListening: boolean;
}

/** undefined: the broker has no limits for all workers. */
export function makeGate({ app, broker, isListening, ...deps }: GateSetup): LimitGate | undefined {
  const { limits } = broker;
  if (limits === undefined) return undefined;
  const { clock, random, settings } = app;
  const known = new KnownLimits({
    store: limits,
    clock,
    logger: deps.logger,
    tasks: () => app.tasks.runnable(),
    queueLimits: settings.queueLimits ?? new Map(),
    refreshMs: isListening ? REFRESH_MS : REFRESH_UNHEARD_MS,
  });
  return new LimitGate({ ...deps, limits, known, clock, random });
}
