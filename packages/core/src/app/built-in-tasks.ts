/** Tasks that every app has, so that a deployment can be tried before it has tasks of its own. */
import { readSignature } from "../canvas/signature-data.ts";
import { NotRegistered } from "../protocol/celery-errors.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { CANVAS_TASKS } from "./canvas-tasks.ts";
import { FailedByHandError } from "./errors.ts";
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

/** Celery's own tasks, which any worker must know (celery-protocol 8). */
const celery = [
  storeDefinition({ name: "celery.accumulate", run: accumulate }, undefined, undefined),
  storeDefinition(
    { name: "celery.map", params: ["task", "it"], run: (ctx: TaskContext, task: unknown, it: unknown) => each(ctx, task, it, false) },
    undefined,
    undefined,
  ),
  storeDefinition(
    { name: "celery.starmap", params: ["task", "it"], run: (ctx: TaskContext, task: unknown, it: unknown) => each(ctx, task, it, true) },
    undefined,
    undefined,
  ),
  storeDefinition(
    { name: "celery.backend_cleanup", run: async (ctx: TaskContext) => void (await (await ctx.app.backend())?.cleanup?.()) },
    undefined,
    undefined,
  ),
];

/** All its arguments as a list, or the one at `index`. */
function accumulate(ctx: TaskContext, ...args: readonly unknown[]): unknown {
  const { index } = ctx.kwargs;
  return typeof index === "number" ? args.at(index) : args;
}

/** The task's body with one item after the other, in this worker: it must know the task. */
async function each(ctx: TaskContext, signature: unknown, items: unknown, isStar: boolean): Promise<readonly unknown[]> {
  const { task: name, args, kwargs, immutable } = readSignature(signature, "task");
  if (!Array.isArray(items)) throw new ProtocolError("malformed", "it", "not a list");
  const task = ctx.app.tasks.get(name);
  if (task === undefined) throw new NotRegistered(name);
  const results: unknown[] = [];
  for (const item of items) {
    ctx.signal.throwIfAborted();
    const own = isStar && Array.isArray(item) ? item : [item];
    results.push(await task.invoke(ctx, immutable ? args : [...own, ...args], kwargs));
  }
  return results;
}

/** Fails, in the place of another task, with the reason that somebody gave (`lovage workflow fail`). */
export const FAIL_TASK = "lovage.fail";

const fail = storeDefinition(
  {
    name: FAIL_TASK,
    deadLetter: false,
    run(_: TaskContext, reason: unknown): never {
      throw new FailedByHandError(String(reason));
    },
  },
  undefined,
  undefined,
);

export const BUILT_IN_TASKS: readonly StoredDefinition[] = [healthcheck, fail, ...celery, ...CANVAS_TASKS];
