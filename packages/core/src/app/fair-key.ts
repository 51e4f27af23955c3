/** The key under which a call shares its queue fairly: from the call, else from its task. Pure. */
import { FAIR_KEY_HEADER, toFairKey } from "../protocol/fair-key.ts";
import { CallError } from "./errors.ts";

/** Such as a tenant's id. A number is written as text; what is undefined, null or empty is no key. */
export type FairKeyInput = string | number | null | undefined;

/** The same key for all calls of a task, or a function of their positional arguments. */
export type FairKeyOption<Args extends readonly unknown[] = never[]> = FairKeyInput | NoInfer<(...args: Args) => FairKeyInput>;

/**
 * Headers with the key among them; as they were when there is none, or when they have one and `isOfCall` is false: what a call says, as a
 * header too, wins over its task. @throws CallError for what cannot be a key
 */
export function withFairKey(
  task: string,
  option: FairKeyOption,
  args: readonly unknown[],
  headers: Readonly<Record<string, unknown>> | undefined,
  isOfCall = true,
): Readonly<Record<string, unknown>> | undefined {
  if (!isOfCall && headers !== undefined && FAIR_KEY_HEADER in headers) return headers;
  const input = typeof option === "function" ? computed(task, option, args) : option;
  if (input === undefined || input === null || input === "") return headers;
  if (toFairKey(input) === undefined)
    throw new CallError(
      task,
      `fairKey of a call of ${task} is not accepted: it takes a text of at most 200 characters without control characters, or a whole number`,
    );
  return { ...headers, [FAIR_KEY_HEADER]: String(input) };
}

function computed(task: string, option: (...args: never[]) => FairKeyInput, args: readonly unknown[]): FairKeyInput {
  try {
    return option(...(args as never[])); // its own task's arguments: the compiler has checked the call
  } catch (cause) {
    throw new CallError(task, `fairKey of the task ${task} threw for the arguments of a call: see the cause`, { cause });
  }
}
