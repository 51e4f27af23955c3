/** What a pool and its children say to each other. */
import type { ResultTuple } from "../../canvas/result-tuple.ts";
import type { ConfigurationHandover } from "../../app/configuration.ts";
import type { Iterated } from "../../app/iteration.ts";
import type { TaskRequest } from "../../app/task-context.ts";
import type { LogFields, LogLevel } from "../../shared/log.ts";
import type { Packed, PackedOutcome, PackedThrown } from "./crossing.ts";

/** How a child comes to the same app as its worker. Plain data. */
export interface ChildSetup {
  /** Absolute path of the module that makes the app. */
  readonly module: string;
  /** Which of its exports; undefined finds it by the app's name. */
  readonly exportName: string | undefined;
  readonly appName: string;
  /** Settings from outside of the module: the command line's. */
  readonly handover: ConfigurationHandover;
  /** `celery@host`. */
  readonly worker: string;
  readonly logLevels: readonly LogLevel[];
  /** It reports its memory with every job. */
  readonly reportsMemory: boolean;
}

/** The facts of a run as they cross: undefined ones are left out. What only the child knows is added there. */
export type JobFacts = Omit<TaskRequest, "workerPid" | "isEager">;

export type ToChild =
  | { readonly kind: "setup"; readonly setup: ChildSetup }
  | { readonly kind: "run"; readonly job: number; readonly facts: Packed }
  | { readonly kind: "abort"; readonly job: number; readonly reason: PackedThrown }
  /** Its iteration is to stop after the step that it is at. */
  | { readonly kind: "interrupt"; readonly job: number }
  /** An answer to `state` and `checkpoint`. */
  | { readonly kind: "stored"; readonly call: number }
  /** Runs the hooks that follow the body of the last job. `outcome`: where it is another than the child reported. */
  | { readonly kind: "endHooks"; readonly job: number; readonly outcome: PackedOutcome | undefined }
  | { readonly kind: "stop" };

export type FromChild =
  /** Its program runs; the user's modules are loaded next. */
  | { readonly kind: "alive" }
  | { readonly kind: "ready" }
  /** It could not start, or an error was thrown outside of any task: it ends. */
  | { readonly kind: "failed"; readonly error: PackedThrown }
  | {
      readonly kind: "done";
      readonly job: number;
      readonly outcome: PackedOutcome;
      /** What became of each message of a batch. */
      readonly each?: readonly PackedOutcome[] | undefined;
      /** How far its iterations have come. */
      readonly iterated?: Iterated | undefined;
      readonly children: readonly ResultTuple[];
      /** 0: it was not asked to look. */
      readonly memoryKib: number;
    }
  | {
      readonly kind: "state";
      readonly job: number;
      readonly call: number;
      readonly state: string;
      readonly meta: Packed;
      readonly children: readonly ResultTuple[];
    }
  | { readonly kind: "checkpoint"; readonly job: number; readonly call: number; readonly iterated: Iterated }
  | { readonly kind: "hooksDone"; readonly job: number; readonly error: PackedThrown | undefined }
  | { readonly kind: "log"; readonly level: LogLevel; readonly fields: LogFields; readonly message: string };
