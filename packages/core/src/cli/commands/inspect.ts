/** `lovage inspect`: questions to workers, by the names of `celery inspect`. */
import { defineCommand } from "../command.ts";
import { askWorkers, REMOTE_OPTIONS } from "../remote.ts";

const QUESTIONS = ["ping", "revoked", "clock"] as const;

export const inspect = defineCommand({
  options: REMOTE_OPTIONS,
  arguments: [{ name: "question", description: QUESTIONS.join(", "), required: true, choices: QUESTIONS }],
  examples: ["lovage -A ./src/app.ts inspect ping", "lovage -A ./src/app.ts inspect ping -d celery@web-1 -t 5"],
  async run(context, options, [question]) {
    return await askWorkers(context, options, async (app, how) => await app.control.broadcast(question, {}, how));
  },
});
