/** What `lovage control` and `lovage inspect` share: whom they mean, and how answers are shown, as Celery's command line shows them. */
import type { Lovage } from "../app/app.ts";
import type { ControlOptions, NodeReply } from "../app/control.ts";
import type { CommandContext } from "./command.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { durationMs, names, text } from "./option-kinds.ts";
import type { Colors } from "./output.ts";
import { reachBroker } from "./reach.ts";
import { countOf } from "../shared/count-of.ts";

export const REMOTE_OPTIONS = {
  destination: names("-d, --destination <nodes>", "only these workers, separated by commas: celery@host"),
  pattern: text("--pattern <glob>", "only workers whose names match, such as 'celery@web-*'"),
  timeoutMs: durationMs("-t, --timeout <duration>", "wait so long for a further answer (default: 1s)"),
} as const;

interface RemoteValues {
  readonly destination: readonly string[] | undefined;
  readonly pattern: string | undefined;
  readonly timeoutMs: number | undefined;
}

/**
 * Sends, prints each answer, and says how many workers there were. Exits with 69 when none has answered, as Celery does.
 * @param isKept the broker remembers it for workers that come later, so that nobody has to answer
 */
export async function askWorkers(
  { openApp, output, signal }: CommandContext,
  { destination, pattern, timeoutMs }: RemoteValues,
  ask: (app: Lovage, options: ControlOptions) => Promise<readonly NodeReply[]>,
  isKept = false,
): Promise<ExitCode> {
  const app = await openApp();
  await reachBroker(app);
  const replies = await ask(app, {
    reply: true,
    signal,
    ...(destination && { destination }),
    ...(pattern !== undefined && { pattern }),
    ...(timeoutMs !== undefined && { timeout: timeoutMs / 1000 }),
  });
  const silent = (destination ?? []).filter((node) => !replies.some((reply) => reply.node === node));
  if (replies.length > 0 || output.json) {
    const document = Object.fromEntries(replies.map(({ node, value }) => [node, value]));
    output.answer(document, (colors) => replies.flatMap((reply) => replyLines(reply, colors)));
  }
  if (replies.length === 0 && isKept && destination === undefined && pattern === undefined) {
    output.note("no worker has answered in the time given; the broker remembers it for those that come");
    return EXIT.ok;
  }
  if (replies.length === 0) {
    output.problem("no worker has answered in the time given");
    return EXIT.unavailable;
  }
  output.note(`${countOf(replies.length, "worker")} answered`);
  if (silent.length === 0) return EXIT.ok;
  output.problem(`no answer from ${silent.join(", ")}`);
  return EXIT.unavailable;
}

/** `->  celery@host: OK`, and below it what it said. */
function replyLines({ node, value }: NodeReply, colors: Colors): string[] {
  const { ok, error } = typeof value === "object" && value !== null ? (value as { ok?: unknown; error?: unknown }) : {};
  if (error !== undefined) return [`${colors.bold("->")}  ${node}: ${colors.red("ERROR")}`, `        ${oneText(error)}`];
  const shown = ok ?? value;
  const lines = Array.isArray(shown) ? shown.map(oneText) : [oneText(shown)];
  return [`${colors.bold("->")}  ${node}: ${colors.green("OK")}`, ...lines.map((line) => `        ${line}`)];
}

/** From another process: it must not write over the terminal. */
function oneText(value: unknown): string {
  const shown = typeof value === "string" ? value : JSON.stringify(value);
  return shown.replaceAll(/[\x00-\x1f\x7f-\x9f]/g, " ");
}
