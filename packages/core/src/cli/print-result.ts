/** Waits for a task's outcome and prints it: for `result` and `call --wait`. */
import type { AsyncResult } from "../app/async-result.ts";
import type { Lovage } from "../app/app.ts";
import { ResultTimeoutError } from "../app/errors.ts";
import { isReady } from "../protocol/states.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { CommandContext } from "./command.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { plainJson } from "./output.ts";

/** @param timeoutMs undefined: as `get()` in code, the setting `resultTimeout`. @throws ResultTimeoutError, ResultsDisabledError, InterruptedError */
export async function printResult(
  context: CommandContext,
  app: Lovage,
  pending: AsyncResult,
  timeoutMs: number | undefined,
): Promise<ExitCode> {
  const { output, globals } = context;
  const document = timeoutMs === 0 ? await lookOnce(pending) : await wait(context, app, pending.id, timeoutMs);
  const isSuccess = document.state === "SUCCESS";
  output.answer(asJson(document, globals.traceback), () => (isSuccess ? showValue(document.result) : []));
  if (isSuccess) return EXIT.ok;
  if (!output.json) output.problem(`task ${pending.id} ended as ${document.state}${describe(document)}`);
  if (!output.json && globals.traceback && document.traceback) output.note(document.traceback.trimEnd());
  return EXIT.failure;
}

function wait({ output, signal }: CommandContext, app: Lovage, id: string, timeoutMs: number | undefined): Promise<ResultDocument> {
  return app.results.wait(id, {
    timeoutMs: timeoutMs ?? app.settings.resultTimeoutMs,
    signal,
    onMessage: ({ state, result }) => {
      if (state === "PROGRESS") output.note(`${state} ${JSON.stringify(result, plainJson)}`);
    },
  });
}

async function lookOnce(pending: AsyncResult): Promise<ResultDocument> {
  const document = await pending.info();
  if (document && isReady(document.state)) return document;
  throw new ResultTimeoutError(pending.id, 0, document?.state ?? "PENDING");
}

function asJson(document: ResultDocument, withTraceback: boolean): object {
  return {
    id: document.taskId,
    state: document.state,
    ...(document.error ? { error: document.error } : { result: document.result ?? null }),
    ...(withTraceback ? { traceback: document.traceback } : {}),
    doneAt: document.dateDoneAt === null ? null : new Date(document.dateDoneAt).toISOString(),
  };
}

/** A text as it is, so that it can be piped; everything else as JSON. */
function showValue(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value, plainJson, 2) ?? "null");
}

function describe({ error }: ResultDocument): string {
  if (!error) return "";
  const said = error.args.map((arg) => (typeof arg === "string" ? arg : JSON.stringify(arg, plainJson))).join(", ");
  return said === "" ? `: ${error.type}` : `: ${error.type}: ${said}`;
}
