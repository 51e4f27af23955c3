/** `lovage unique`: which locks of unique tasks are held, and by which task; and takes one from a holder that will not free it. */
import type { UniqueLock } from "../../brokers/uniques.ts";
import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { reachBroker } from "../reach.ts";
import { tableLines, type Column } from "../table.ts";

export const unique = defineCommand({
  options: {},
  arguments: [
    { name: "action", description: "list, or break: the next call is no duplicate", required: true, choices: ["list", "break"] },
    { name: "name", description: "of the lock, as `unique list` has it; with list, a queue", required: false },
  ],
  examples: ["lovage -A ./src/app.ts unique list", "lovage unique break search.reindex:catalogue"],
  async run({ openApp, output }, _, [action, name]) {
    if (action === "break" && name === undefined) throw new UsageError("unique break needs a lock", "`lovage unique list` names them");
    const app = await openApp();
    await reachBroker(app);
    if (action === "list" || name === undefined) {
      const locks = await app.unique.list(name === undefined ? {} : { queue: name });
      output.answer(locks.map(documentOf), (colors) => (locks.length === 0 ? "no lock is held" : tableLines(locks, COLUMNS, colors)));
      return EXIT.ok;
    }
    const held = await app.unique.break(name);
    if (held === undefined) {
      output.problem(`nobody holds the lock ${name}`);
      return EXIT.failure;
    }
    output.answer({ name, taskId: held }, () => `${name} is free: ${held} held it`);
    return EXIT.ok;
  },
});

const documentOf = ({ name, mode, taskId, queue, since, until, nextTaskId }: UniqueLock): Readonly<Record<string, string | null>> => ({
  name,
  mode,
  taskId,
  queue,
  since: new Date(since).toISOString(),
  until: new Date(until).toISOString(),
  nextTaskId: nextTaskId ?? null,
});

const COLUMNS: readonly Column<UniqueLock>[] = [
  { title: "lock", cell: ({ name }) => name },
  { title: "mode", cell: ({ mode }) => mode },
  { title: "held by", cell: ({ taskId }) => taskId },
  { title: "queue", cell: ({ queue }) => queue },
  { title: "since", cell: ({ since }) => new Date(since).toISOString() },
  { title: "until", cell: ({ until }) => new Date(until).toISOString() },
];
