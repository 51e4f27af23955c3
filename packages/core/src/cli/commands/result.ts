/** `lovage result`: what a task returned, or how it failed. */
import { defineCommand } from "../command.ts";
import { durationMs } from "../option-kinds.ts";

export const result = defineCommand({
  options: {
    timeoutMs: durationMs("--timeout <duration>", "give up after this time; 0 looks once (default: the setting result_timeout)"),
  },
  arguments: [{ name: "id", description: "id of the task", required: true }],
  examples: [
    "lovage -A ./src/app.ts result 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e --timeout 30",
    "lovage result 4f0cbd6e-... --traceback --json",
  ],
  async run(context, { timeoutMs }, [id]) {
    const app = await context.openApp();
    const { printResult } = await import("../print-result.ts");
    return printResult(context, app, app.result(id), timeoutMs);
  },
});
