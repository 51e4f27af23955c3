/** From the arguments of a message to a call of the task's function. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { BatchEnds, Item, type ItemEnd, type ItemServices, runBatch, type WatchedFacts } from "./batch-task.ts";
import type { CallArguments } from "./encrypted-arguments.ts";
import { TaskArgumentsError } from "./errors.ts";
import type { Kwargs } from "./call-options.ts";
import type { TaskContext } from "./task-context.ts";
import type { StoredDefinition } from "./task-definition.ts";

/** A function that answers at once does so here too, or throws: no promise is made for it. */
export type Invoke = (ctx: TaskContext, args: readonly unknown[], kwargs: Kwargs) => unknown;

type AnyRun = (...args: readonly unknown[]) => unknown;

/** Chosen once per task, so that a task without `params` and `input` pays for neither. */
export function bindInvoke(definition: StoredDefinition): Invoke {
  const run = definition.run as AnyRun;
  const { params, input, takesContext } = definition;
  const call: (ctx: TaskContext, args: readonly unknown[]) => unknown = takesContext
    ? (ctx, args) => run(ctx, ...args)
    : (_, args) => run(...args);
  if (input) return async (ctx, args, kwargs) => call(ctx, await bindOne(definition, { args, kwargs }));
  if (params) return (ctx, args, kwargs) => call(ctx, bindParams(definition.name, params, args, kwargs));
  return call;
}

/** Arguments of one message, bound and checked. Rejects with TaskArgumentsError. */
async function bindOne({ name, params, input }: StoredDefinition, { args, kwargs }: CallArguments): Promise<readonly unknown[]> {
  const bound = params ? bindParams(name, params, args, kwargs) : args;
  if (!input) return bound;
  const isObjectByName = bound.length === 0 && !params && Object.keys(kwargs).length > 0;
  return await check(name, input, isObjectByName ? [kwargs] : bound);
}

/** For a task that takes batches: `args` are the facts of its messages, and it answers with a BatchEnds. Arguments that do not fit end theirs alone. */
export function bindBatch(definition: StoredDefinition, services: ItemServices, open: (call: CallArguments) => CallArguments): Invoke {
  const run = definition.run as AnyRun;
  const item = async (facts: WatchedFacts): Promise<Item> => {
    try {
      return new Item(definition.name, facts, await bindOne(definition, open(facts)), services);
    } catch (thrown) {
      facts.end = { thrown };
      return new Item(definition.name, facts, [], services);
    }
  };
  return async (ctx, args) => {
    const items = await Promise.all((args as readonly WatchedFacts[]).map(item)); // made by whoever runs batches
    await runBatch(definition.name, items, (fit) => run(ctx, fit));
    return new BatchEnds(items.map(({ end }) => end as ItemEnd));
  };
}

/** The arguments in their order, as the function gets them before they are checked. @throws TaskArgumentsError */
export function boundArgs({ name, params }: StoredDefinition, args: readonly unknown[], kwargs: Kwargs): readonly unknown[] {
  if (params) return bindParams(name, params, args, kwargs);
  return args.length === 0 && Object.keys(kwargs).length > 0 ? [kwargs] : args;
}

/** As Python binds: positions first, then names; a name that is unknown or already bound is an error. */
function bindParams(task: string, params: readonly string[], args: readonly unknown[], kwargs: Kwargs): readonly unknown[] {
  const names = Object.keys(kwargs);
  if (names.length === 0) return args;
  const bound = [...args];
  const problems: string[] = [];
  for (const name of names) {
    const index = params.indexOf(name);
    if (index < 0) problems.push(`there is no parameter ${name}`);
    else if (index < args.length) problems.push(`${name} is given twice`);
    else bound[index] = kwargs[name];
  }
  if (problems.length > 0) throw new TaskArgumentsError(task, problems);
  return Array.from(bound); // holes become undefined
}

async function check(
  task: string,
  input: StandardSchemaV1 | readonly StandardSchemaV1[],
  args: readonly unknown[],
): Promise<readonly unknown[]> {
  const schemas = Array.isArray(input) ? (input as readonly StandardSchemaV1[]) : [input as StandardSchemaV1];
  if (args.length > schemas.length) throw new TaskArgumentsError(task, [`it takes ${schemas.length} arguments, not ${args.length}`]);
  const problems: string[] = [];
  const values: unknown[] = [];
  for (const [index, schema] of schemas.entries()) {
    const answer = schema["~standard"].validate(args[index]);
    const result = answer instanceof Promise ? await answer : answer;
    if (result.issues) problems.push(...result.issues.map((issue) => issueText(issue, schemas.length > 1 ? index : undefined)));
    else values.push(result.value);
  }
  if (problems.length > 0) throw new TaskArgumentsError(task, problems);
  return values;
}

/** The place, and the schema's own words. */
function issueText(issue: StandardSchemaV1.Issue, argument: number | undefined): string {
  const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
  if (argument !== undefined) path.unshift(`argument ${argument}`);
  return path.length === 0 ? issue.message : `${path.join(".")}: ${issue.message}`;
}
