/** `lovage purge`: discards what waits in queues. What workers hold and what was put aside as dead stays. */
import { createInterface } from "node:readline/promises";
import { defineCommand, type CommandContext } from "../command.ts";
import { chooseQueues } from "../choose-queues.ts";
import { reachBroker } from "../reach.ts";
import { InterruptedError, UsageError } from "../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { flag, names } from "../option-kinds.ts";
import { countOf } from "../../shared/count-of.ts";

export const purge = defineCommand({
  options: {
    force: flag("-f, --force", "do not ask"),
    queues: names("-Q, --queues <names>", "these queues, separated by commas (default: those of the app)"),
    exclude: names("-X, --exclude-queues <names>", "not these"),
  },
  arguments: [],
  examples: ["lovage -A ./src/app.ts purge", "lovage purge -f -Q reports,mail"],
  async run(context, options) {
    const app = await context.openApp();
    const chosen = chooseQueues(
      app.calls.routing.declared.map((queue) => queue.name),
      options.queues,
      options.exclude,
    );
    const broker = await reachBroker(app);
    if (!options.force && !(await isConfirmed(context, chosen, broker.location))) return EXIT.failure;
    const counts: { queue: string; purged: number }[] = [];
    for (const queue of chosen) counts.push({ queue, purged: await broker.purge(queue) });
    context.output.answer(counts, () => counts.map(({ queue, purged }) => `${queue}: ${countOf(purged, "message")} discarded`));
    return EXIT.ok;
  },
});

/** The question goes to the standard error: the standard output is for the answer. */
async function isConfirmed({ output }: CommandContext, queues: readonly string[], location: string): Promise<boolean> {
  if (!output.isInteractive(process.stdin)) {
    throw new UsageError(`purge discards all messages in ${queues.join(", ")} and cannot ask here`, "say -f if that is what you want");
  }
  output.warn(`this discards all messages that wait in ${queues.join(", ")} at ${location}. There is no way back.`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question("Type yes to go on: ");
    if (/^\s*y(es)?\s*$/i.test(answer)) return true;
    output.note("Nothing was discarded.");
    return false;
  } catch (error) {
    if (!(error instanceof Error && error.name === "AbortError")) throw error;
    output.note(""); // ends the line of the question
    throw new InterruptedError();
  } finally {
    terminal.close();
  }
}
