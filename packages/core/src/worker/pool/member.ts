/** What a pool knows of one of its children. */
import type { Timer } from "../../shared/clock.ts";
import type { Outcome } from "../outcome.ts";
import type { Child } from "./child.ts";
import type { PoolJob } from "./pool.ts";

/** `child-pool.ts` says what moves it. */
type MemberState = "starting" | "idle" | "busy" | "hooks" | "leaving";

/** One child, as its pool keeps it. */
export interface Member {
  readonly child: Child;
  state: MemberState;
  running: Running | undefined;
  /** Ends the wait for its first words, or for its end. */
  deadline: Timer | undefined;
  jobsDone: number;
  /** To be told to stop once its job has ended. */
  leavesNext: boolean;
  /** What it said it dies of. */
  error: unknown;
}

/** The job that a child has. */
export interface Running {
  readonly number: number;
  readonly job: PoolJob;
  readonly timers: Timer[];
  /** What the child said that it came to. */
  reported: Outcome | undefined;
  /** Who waits for the hooks after it. */
  hooksEnded: ((error: unknown) => void) | undefined;
}

/** Those that are let go first. */
export function rank({ state }: Member): number {
  return state === "starting" ? 0 : state === "idle" ? 1 : 2;
}
