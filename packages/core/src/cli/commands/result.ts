/** `lovage result`: what a task returned, or how it failed. */
import type { Lovage } from "../../app/app.ts";
import { isReady } from "../../protocol/states.ts";
import { defineCommand, type CommandContext } from "../command.ts";
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
    const { reachBackend } = await import("../reach.ts");
    await reachBackend(app);
    if (timeoutMs !== 0) await sayThatItWaits(context, app, id);
    const { printResult } = await import("../print-result.ts");
    return printResult(context, app, app.result(id), timeoutMs);
  },
});

/** A wrong id looks like a task that has not begun: who waits should know that he may wait in vain. */
async function sayThatItWaits({ output, signal }: CommandContext, app: Lovage, id: string): Promise<void> {
  const state = await app.result(id).state();
  if (isReady(state)) return;
  signal.throwIfAborted();
  output.note(`waiting, its state is ${state}${state === "PENDING" ? ": not begun, or no such task" : ""} (Ctrl+C ends this)`);
}
