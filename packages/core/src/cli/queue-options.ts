/** What `lovage worker` is told of queues: weights in `-Q`, and capsules. Pure. */
import { InvalidArgumentError } from "commander";

import { type CapsulesInput, OWN_CAPSULE } from "../app/capsules.ts";
import { readWeighted } from "../app/queue-order.ts";
import type { OptionSpec } from "./command.ts";
import { readNames } from "./option-kinds.ts";

/** `--capsule pdf=pdf,thumbs@2`, once for each. */
export function capsules(flags: string, description: string): OptionSpec<CapsulesInput | undefined> {
  return {
    flags,
    description,
    parse(value, earlier) {
      const before = (earlier ?? {}) as CapsulesInput; // made here
      const [, name, list, size] = /^([^=]+)=([^@]+)(?:@(\d+))?$/.exec(value.trim()) ?? [];
      const concurrency = size === undefined ? undefined : Number(size);
      if (name === undefined || list === undefined || concurrency === 0)
        throw new InvalidArgumentError("It takes a name, queues and how many tasks at once, such as pdf=pdf,thumbs@2.");
      if (name === OWN_CAPSULE || name in before) throw new InvalidArgumentError(`A capsule named ${name} is there already.`);
      const names = readNames(list);
      const weights = weightsOf(names, []);
      const queues = weights ? [...weights.keys()] : names;
      const capsule = {
        queues,
        ...(concurrency !== undefined && { concurrency }),
        ...(weights && { queueOrder: Object.fromEntries(weights) }),
      };
      return { ...before, [name]: capsule };
    },
  };
}

/**
 * `critical:6,default:3` are queues with weights: when there are several, each has one, and none of them is a queue that the app
 * declares by its whole name. undefined: they are names.
 */
export function weightsOf(names: readonly string[], declared: readonly string[]): ReadonlyMap<string, number> | undefined {
  return names.length > 1 && !names.some((name) => declared.includes(name)) ? readWeighted(names) : undefined;
}
