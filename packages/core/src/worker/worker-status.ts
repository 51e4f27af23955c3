/** What a worker tells of itself: the sums of its capsules. */
import type { Engine } from "./engine.ts";
import type { WorkerState } from "./life.ts";
import type { Pool } from "./pool/pool.ts";
import type { WorkerStatus } from "./worker-options.ts";

/** @param engine undefined until the worker is connected @param pools those of its capsules, for the slots it will have */
export function statusOf(state: WorkerState, engine: Engine | undefined, pools: readonly Pool[]): WorkerStatus {
  const capsules = engine?.capsules;
  return {
    state,
    consuming: state === "running" && (engine?.isConsuming ?? false),
    slots: capsules ? sum(capsules, "slots") : sum(pools, "size"),
    running: sum(capsules, "running"),
    waiting: sum(capsules, "waiting"),
    scheduled: sum(capsules, "scheduled"),
    onLoan: sum(capsules, "onLoan"),
    processed: sum(capsules, "processed"),
    paused: engine?.pauses.list ?? [],
    capsules: capsules?.map((capsule) => capsule.status()) ?? [],
  };
}

export function sum<Key extends string>(all: readonly { readonly [K in Key]: number }[] = [], key: Key): number {
  return all.reduce((total, each) => total + each[key], 0);
}
