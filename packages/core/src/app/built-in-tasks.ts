/** Tasks that every app has, so that a deployment can be tried before it has tasks of its own. */
import type { TaskContext } from "./task-context.ts";
import { storeDefinition, type StoredDefinition } from "./task-definition.ts";

export const HEALTHCHECK_TASK = "lovage.healthcheck";

/** Logs one line and returns "ok", whoever calls it. */
const healthcheck = storeDefinition(
  {
    name: HEALTHCHECK_TASK,
    run(ctx: TaskContext): string {
      ctx.log.info({}, "healthcheck ok");
      return "ok";
    },
  },
  undefined,
  undefined,
);

export const BUILT_IN_TASKS: readonly StoredDefinition[] = [healthcheck];
