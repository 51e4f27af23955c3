/**
 * What `lovage worker` hands to each of its worker processes: plain data, in a variable of their environment, because
 * arguments can be read by every user of the machine and a broker's URL holds a password.
 */
import type { CapsulesInput } from "../app/capsules.ts";
import type { GlobalOptions } from "./command.ts";
import type { LogFormat, LogLevelName } from "./log.ts";

export interface WorkerPlan {
  readonly globals: GlobalOptions;
  /** Node name with its expansions; undefined is `celery@%h`. */
  readonly name: string | undefined;
  /** Names, or names with weights: which of both, the app's own queues tell. */
  readonly queues: readonly string[] | undefined;
  readonly capsules: CapsulesInput | undefined;
  readonly excludeQueues: readonly string[] | undefined;
  readonly concurrency: number | undefined;
  readonly autoscale: { readonly max: number; readonly min: number } | undefined;
  readonly purge: boolean;
  readonly processes: number;
  /** Starts without taking anything, because the others have been told not to. */
  readonly quiet: boolean;
  readonly log: { readonly format: LogFormat; readonly level: LogLevelName; readonly file: string | undefined; readonly color: boolean };
}

export const PLAN_VARIABLE = "LOVAGE_WORKER_PLAN";
/** 0 for the first process. */
export const INDEX_VARIABLE = "LOVAGE_WORKER_INDEX";

export function encodePlan(plan: WorkerPlan): string {
  return JSON.stringify(plan);
}

/** Takes the variables out, so that programs which tasks start do not inherit them. */
export function takePlan(env: Record<string, string | undefined>): { plan: WorkerPlan; index: number } | undefined {
  const { [PLAN_VARIABLE]: text, [INDEX_VARIABLE]: index } = env;
  delete env[PLAN_VARIABLE];
  delete env[INDEX_VARIABLE];
  return text === undefined ? undefined : { plan: JSON.parse(text) as WorkerPlan, index: Number(index) }; // written by `encodePlan` in the parent process
}

/** `%i` is the number of the process, from 1, or 0 where there is only one, as in Celery's pool. Several under one name get it all the same. */
export function processName(pattern: string | undefined, index: number, processes: number): string | undefined {
  if (processes === 1) return pattern?.replaceAll("%i", "0").replaceAll("%I", "");
  const number = index + 1;
  const given = pattern ?? "celery@%h";
  if (/%[iI]/.test(given)) return given.replaceAll("%i", String(number)).replaceAll("%I", `-${number}`);
  const at = given.indexOf("@");
  return at < 0 ? `${given}-${number}` : `${given.slice(0, at)}-${number}${given.slice(at)}`;
}

/** As Celery calls processes in its log. */
export function processTitle(index: number, processes: number): string {
  return processes === 1 ? "MainProcess" : `Worker-${index + 1}`;
}
