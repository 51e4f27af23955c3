/** `lovage control`: commands to workers, by the names of `celery control`; `quiet`, `resume` and `ping` besides. */
import type { Lovage } from "../../app/app.ts";
import type { ControlOptions, NodeReply } from "../../app/control.ts";
import { parseRate } from "../../shared/rate.ts";
import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { flag, text } from "../option-kinds.ts";
import { reachBroker } from "../reach.ts";
import { askWorkers, REMOTE_OPTIONS } from "../remote.ts";

const ACTIONS = ["ping", "revoke", "terminate", "revoke_by_stamped_headers", "rate_limit", "quiet", "resume", "shutdown"] as const;

export const control = defineCommand({
  options: {
    ...REMOTE_OPTIONS,
    terminate: flag("--terminate", "with revoke: also end the tasks that run"),
    signal: text("-s, --signal <name>", "with --terminate: SIGTERM, which gives them a moment, or SIGKILL, which does not"),
  },
  arguments: [
    { name: "action", description: ACTIONS.join(", "), required: true, choices: ACTIONS },
    {
      name: "words",
      description:
        "ids of tasks; for terminate a signal and then ids, as Celery has it; for rate_limit a task and a rate; for revoke_by_stamped_headers key=value",
      required: false,
      variadic: true,
    },
  ],
  examples: [
    "lovage -A ./src/app.ts control revoke 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e",
    "lovage -A ./src/app.ts control revoke --terminate 4f0cbd6e-3b0c-4c6b-9d3f-0c1f6a7f0d9e",
    "lovage -A ./src/app.ts control rate_limit shop.add 100/m",
    "lovage -A ./src/app.ts control quiet -d celery@web-1",
    "lovage -A ./src/app.ts control shutdown --pattern 'celery@web-*'",
  ],
  async run(context, options, [action, words]) {
    if (action === "shutdown") {
      requireNone(action, words);
      const { destination, pattern } = options;
      const app = await context.openApp();
      await reachBroker(app);
      await app.control.shutdown({ ...(destination && { destination }), ...(pattern !== undefined && { pattern }) });
      context.output.answer({ asked: destination ?? pattern ?? "all" }, () => "the workers were asked to stop; they do not answer");
      return EXIT.ok;
    }
    const ask = plan(action as Exclude<(typeof ACTIONS)[number], "shutdown">, words, options);
    return await askWorkers(context, options, ask, action !== "ping" && action !== "quiet" && action !== "resume");
  },
});

type Ask = (app: Lovage, how: ControlOptions) => Promise<readonly NodeReply[]>;

interface Ending {
  readonly terminate: boolean;
  readonly signal: string | undefined;
}

/** @throws UsageError before anything is connected to */
function plan(action: Exclude<(typeof ACTIONS)[number], "shutdown">, words: readonly string[], { terminate, signal }: Ending): Ask {
  switch (action) {
    case "ping":
    case "quiet":
    case "resume":
      requireNone(action, words);
      return (app, how) => app.control[action](how);
    case "revoke": {
      requireSome(action, words, "ids of tasks");
      return (app, { signal: _, ...how }) => app.control.revoke(words, { ...how, terminate, ...(signal !== undefined && { signal }) });
    }
    case "terminate": {
      const [name = "", ...ids] = words;
      requireSome(action, ids, "a signal and ids of tasks");
      return (app, { signal: _, ...how }) => app.control.terminate(ids, { ...how, signal: name });
    }
    case "rate_limit": {
      const [task, rate, ...rest] = words;
      if (task === undefined || rate === undefined || rest.length > 0 || parseRate(rate) === undefined)
        throw new UsageError(
          "control rate_limit takes a task and a rate",
          "for example: control rate_limit shop.add 100/m (0 for no limit)",
        );
      return (app, how) => app.control.rateLimit(task, rate === "0" ? null : rate, how);
    }
    case "revoke_by_stamped_headers": {
      requireSome(action, words, "stamps as key=value");
      const headers = readStamps(words);
      return (app, { signal: _, ...how }) =>
        app.control.revokeByStampedHeaders(headers, { ...how, terminate, ...(signal !== undefined && { signal }) });
    }
  }
}

function requireNone(action: string, words: readonly string[]): void {
  if (words.length > 0) throw new UsageError(`control ${action} takes no further words: ${words.join(" ")}`, "-d names workers");
}

function requireSome(action: string, words: readonly string[], what: string): void {
  if (words.length === 0) throw new UsageError(`control ${action} takes ${what}`);
}

function readStamps(words: readonly string[]): Record<string, string[]> {
  const stamps = new Map<string, string[]>();
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 1) throw new UsageError(`${word} is no stamp`, "write key=value");
    stamps.set(word.slice(0, at), [...(stamps.get(word.slice(0, at)) ?? []), word.slice(at + 1)]);
  }
  return Object.fromEntries(stamps);
}
