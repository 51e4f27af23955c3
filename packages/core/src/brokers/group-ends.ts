import type { GroupPart } from "../results/groups.ts";
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import type { Outgoing } from "./publishing.ts";

export interface GroupEnds {
  /**
   * Stores, publishes and registers what follows from a group that is due, and removes the record of that, in one step.
   * "gone": somebody else has ended it, nothing was done. Waits out a broker's absence; rejects only when `signal` aborts.
   */
  finish(end: GroupEnd, options: FinishOptions): Promise<GroupEndAnswer>;
}

export interface GroupEnd {
  readonly groupId: string;
  /** The queue of messages that no queue is bound for. */
  readonly home: string;
  readonly results: readonly ResultWrite[];
  readonly publish: readonly Outgoing[];
  readonly parts: readonly GroupPart[];
}

export interface FinishOptions {
  readonly backend: ResultBackend;
  readonly signal?: AbortSignal;
}

/** `completed`: the groups around it that were completed by it. */
export type GroupEndAnswer = { readonly kind: "gone" } | { readonly kind: "ended"; readonly completed: readonly string[] };
