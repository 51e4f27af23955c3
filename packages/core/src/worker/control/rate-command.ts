/** `rate_limit`: another rate for a task in the workers that hear it, until they stop. */
import { pythonRepr } from "../../protocol/python-repr.ts";
import { parseRate } from "../../shared/rate.ts";
import { type Command, CommandError } from "./command.ts";

const NAME_MAX = 1000;

/** `None` and 0 are no limit, as in Celery. */
export const rateLimit: Command = {
  run(node, { task_name: task, rate_limit: rate }) {
    if (typeof task !== "string" || task === "" || task.length > NAME_MAX) throw new CommandError("ValueError", "task_name must be a name");
    const perSecond = rate === null || rate === undefined || rate === "" ? 0 : parseRate(rate);
    if (perSecond === undefined) return { error: `Invalid rate limit string: ValueError(${pythonRepr(rate, 100)})` };
    if (!node.setRate(task, perSecond)) return { error: "unknown task" };
    if (perSecond === 0) {
      node.logger.info({ task }, `Rate limits disabled for tasks of type ${task}`);
      return { ok: "rate limit disabled successfully" };
    }
    node.logger.info({ task, perSecond }, `New rate limit for tasks of type ${task}: ${String(rate)}.`);
    return { ok: "new rate limit set successfully" };
  },
};
