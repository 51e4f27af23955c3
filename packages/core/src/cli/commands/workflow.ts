/** `lovage workflow`: a chain, group, chord or batch as a tree, what keeps it from going on, and its repair. */
import { defineCommand } from "../command.ts";
import { chooseQueues } from "../choose-queues.ts";
import { UsageError } from "../errors.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { flag, json, names, text, wholeNumber } from "../option-kinds.ts";

const ACTIONS = ["show", "explain", "retry", "complete", "fail"] as const;

export const workflow = defineCommand({
  options: {
    limit: wholeNumber("--limit <number>", "members of a group or batch that are shown at most (50)", 1),
    first: wholeNumber("--first <place>", "members from this place on (0)", 0),
    all: flag("--all", "members that have succeeded too, of large groups and batches"),
    queues: names("-Q, --queues <names>", "look for messages in these queues (default: those of the app)"),
    messages: wholeNumber("--messages <number>", "messages that are looked at at most (100000)", 1),
    place: wholeNumber("--place <place>", "with complete or fail, and the id of a group or batch: its member at this place", 0),
    value: json("--value <json>", "with complete: the result", "any value"),
    partial: flag("--partial", "with complete, and the id of a chord's header: call the body with the results that have come"),
    reason: text("--reason <text>", "with fail: the error's text"),
  },
  arguments: [
    { name: "action", description: ACTIONS.join(", "), required: true, choices: ACTIONS },
    { name: "id", description: "of a task, a group, a chord's header or a batch", required: true },
  ],
  examples: [
    "lovage -A ./src/app.ts workflow show 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e",
    "lovage -A ./src/app.ts workflow explain 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e --json",
    "lovage -A ./src/app.ts workflow retry 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e",
    "lovage -A ./src/app.ts workflow complete 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e --value '[1, 2]'",
    "lovage -A ./src/app.ts workflow fail 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e --reason 'the shop is closed'",
  ],
  async run(context, options, [action, id]): Promise<ExitCode> {
    const [{ reachBroker }, { workflowLines }] = await Promise.all([import("../reach.ts"), import("../workflow-tree.ts")]);
    const { decodeJson } = await import("../../protocol/json.ts");
    const app = await context.openApp();
    const declared = app.calls.routing.declared.map((queue) => queue.name);
    const queues = chooseQueues(declared, options.queues, undefined);
    await reachBroker(app);
    const { limit, first, messages, place, value, reason } = options;
    const looking = { limit, first, all: options.all || undefined, messages, queues };
    const found = app.workflow(id);
    const { output } = context;
    switch (action as (typeof ACTIONS)[number]) {
      case "show": {
        const view = await found.explain(looking);
        output.answer(view.root, (colors) => workflowLines({ ...view, problems: [], isPartial: false }, colors));
        return EXIT.ok;
      }
      case "explain": {
        const view = await found.explain(looking);
        output.answer(view, (colors) => workflowLines(view, colors));
        return view.problems.length > 0 ? EXIT.failure : EXIT.ok;
      }
      case "retry":
        return say(await found.retry(looking));
      case "complete":
        if (options.partial) return say(await found.completePartial({ queues }));
        if (value === undefined) throw new UsageError("workflow complete needs a result", "give --value, such as --value 42, or --partial");
        return say(await found.complete(decodeJson(value), { queues, place }));
      case "fail":
        if (reason === undefined || reason === "") throw new UsageError("workflow fail needs a reason", "give --reason");
        return say(await found.fail(reason, { queues, place }));
    }
    function say(repaired: { readonly ids: readonly string[]; readonly done: string }): ExitCode {
      output.answer(repaired, () => repaired.done);
      return EXIT.ok;
    }
  },
});
