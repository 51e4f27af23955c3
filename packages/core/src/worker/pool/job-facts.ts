/** The facts of a run, as plain data for another thread or process. */
import type { TaskRequest } from "../../app/task-context.ts";
import type { JobFacts } from "./messages.ts";

const NAMES = [
  "id", "task", "args", "kwargs", "argsrepr", "kwargsrepr", "rootId", "parentId", "group", "groupIndex", "correlationId", "replyTo",
  "retries", "eta", "expires", "timeLimitMs", "softTimeLimitMs", "ignoreResult", "replacedTaskNesting", "headers", "stampedHeaders",
  "stamps", "shadow", "origin", "delivery", "callbacks", "errbacks", "chain", "chord", "hostname", "startedAt",
] as const satisfies readonly (keyof JobFacts)[]; // prettier-ignore

/** Fails to compile when a fact is missing above. */
type Missing = Exclude<keyof JobFacts, (typeof NAMES)[number]>;
const _all: Missing extends never ? true : Missing = true;
void _all;

export function factsOf(request: TaskRequest): JobFacts {
  const facts: Record<string, unknown> = {};
  for (const name of NAMES) {
    const value = request[name];
    if (value !== undefined) facts[name] = value;
  }
  return facts as unknown as JobFacts; // what is absent reads as undefined
}
