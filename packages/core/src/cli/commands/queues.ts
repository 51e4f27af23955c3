/** `lovage queues`: how many messages wait, are put aside until their time, are being worked on, or are dead. */
import type { QueueDepth } from "../../brokers/broker.ts";
import { chooseQueues } from "../choose-queues.ts";
import { reachBroker } from "../reach.ts";
import { defineCommand } from "../command.ts";
import { names } from "../option-kinds.ts";
import { tableLines, type Column } from "../table.ts";

export const queues = defineCommand({
  options: {
    queues: names("-Q, --queues <names>", "these queues, separated by commas (default: those of the app)"),
    exclude: names("-X, --exclude-queues <names>", "not these"),
  },
  arguments: [],
  examples: ["lovage -A ./src/app.ts queues", "lovage -b redis://127.0.0.1:6379/0 queues -Q celery,reports --json"],
  async run({ openApp, output }, options) {
    const app = await openApp();
    const declared = app.calls.routing.declared.map((queue) => queue.name);
    const broker = await reachBroker(app);
    const depths = await broker.depth(chooseQueues(declared, options.queues, options.exclude));
    const document = depths.map(({ queue, ready, parked, onLoan, dead }) => ({ queue, ready, parked, onLoan: onLoan ?? null, dead }));
    output.answer(document, (colors) => tableLines(depths, COLUMNS, colors));
  },
});

const COLUMNS: readonly Column<QueueDepth>[] = [
  { title: "queue", cell: ({ queue }) => queue },
  { title: "ready", align: "right", cell: ({ ready }) => String(ready) },
  { title: "parked", align: "right", cell: ({ parked }) => String(parked) },
  { title: "on loan", align: "right", cell: ({ onLoan }) => (onLoan === undefined ? "?" : String(onLoan)) },
  {
    title: "dead",
    align: "right",
    cell: ({ dead }) => String(dead),
    paint: (cell, { dead }, colors) => (dead > 0 ? colors.red(cell) : cell),
  },
];
