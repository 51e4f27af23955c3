/**
 * Celery's own tasks that are workflows (celery-protocol 8). Current versions do not send most of them; old ones do, and
 * backends that cannot count send `celery.chord_unlock`, so any worker must know them.
 */
import { memberError } from "../canvas/chord-part.ts";
import { readResultTuple, type ResultTuple } from "../canvas/result-tuple.ts";
import { chordSignature, chunksSignature, groupSignature, merged, readSignature, shapeOf } from "../canvas/signature-data.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { SignatureData } from "../protocol/signature.ts";
import { RemoteTaskError } from "../protocol/exception.ts";
import { isReady } from "../protocol/states.ts";
import type { TaskContext } from "./task-context.ts";
import { storeDefinition, type StoredDefinition } from "./task-definition.ts";
import type { TaskOptions } from "./task-options.ts";
import { Replace } from "./task-signals.ts";

/** Celery's `result_chord_retry_interval`, in seconds. */
const LOOK_AGAIN = 1;

/** Waits for the header of a chord that nobody counts, by looking, and calls the body in its own place. */
async function unlockChord(
  ctx: TaskContext,
  groupId: unknown,
  callback: unknown,
  interval: unknown,
  maxRetries: unknown,
  result: unknown,
): Promise<never> {
  const body = readSignature(callback, "callback");
  const members = listIn(result ?? [], "result").map((each, i) => readResultTuple(each, `result[${i}]`));
  const header: ResultTuple = [[String(groupId), null], members];
  const again = (error?: unknown): never =>
    ctx.retry({
      error,
      countdown: typeof interval === "number" ? interval : LOOK_AGAIN,
      maxRetries: typeof maxRetries === "number" ? maxRetries : null,
    });
  const documents = await read(ctx, header).catch(again);
  if ([...documents.values()].some((document) => document === undefined || !isReady(document.state))) return again();
  const failed = [...documents.values()].find((document) => document?.error !== undefined);
  if (failed?.error !== undefined) throw new Replace({ kind: "failBody", body, error: memberError(failed.taskId, failed.error) });
  const valueOf = ([[id], children]: ResultTuple): unknown => children?.map(valueOf) ?? documents.get(id)?.result ?? null;
  throw new Replace({ kind: "call", signature: merged(body, [valueOf(header)]) });
}

async function read(ctx: TaskContext, tuple: ResultTuple): Promise<ReadonlyMap<string, ResultDocument | undefined>> {
  const ids = leaves(tuple);
  const documents = await Promise.all(ids.map((id) => ctx.app.results.read(id)));
  return new Map(ids.map((id, i) => [id, documents[i]]));
}

function leaves([[id], children]: ResultTuple): readonly string[] {
  return children === null ? [id] : children.flatMap(leaves);
}

/** Sends it as `chunks().delay()` would. Returns the group's result tuple. */
async function sendChunks(ctx: TaskContext, task: unknown, it: unknown, n: unknown): Promise<ResultTuple> {
  const signature = chunksSignature(readSignature(task, "task"), listIn(it, "it"), typeof n === "number" ? n : Number.NaN);
  shapeOf(signature);
  return await send(ctx, signature);
}

/** Members that have their ids already. */
async function sendGroup(ctx: TaskContext, tasks: unknown, result: unknown, groupId: unknown, partial: unknown): Promise<unknown> {
  const members = listIn(tasks, "tasks").map((each, i) => readSignature(each, `tasks[${i}]`));
  await send(ctx, groupSignature(members, typeof groupId === "string" ? { task_id: groupId } : {}), listIn(partial ?? [], "partial_args"));
  return result ?? null;
}

async function sendChord(ctx: TaskContext, header: unknown, body: unknown, partial: unknown): Promise<ResultTuple> {
  const members = Array.isArray(header)
    ? groupSignature(header.map((each, i) => readSignature(each, `header[${i}]`)))
    : readSignature(header, "header");
  return await send(ctx, chordSignature(members, readSignature(body, "body")), listIn(partial ?? [], "partial_args"));
}

async function send(ctx: TaskContext, signature: SignatureData, args: readonly unknown[] = []): Promise<ResultTuple> {
  return await ctx.app.calls.sendSignature(signature, args, {}, {});
}

function listIn(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ProtocolError("malformed", where, "not a list");
  return value;
}

function define(name: string, params: readonly string[], run: (ctx: TaskContext, ...args: never[]) => unknown, options: TaskOptions = {}) {
  return storeDefinition({ name, params, run, ...options }, undefined, undefined);
}

export const CANVAS_TASKS: readonly StoredDefinition[] = [
  define("celery.chord_unlock", ["group_id", "callback", "interval", "max_retries", "result"], unlockChord, {
    ignoreResult: true,
    maxRetries: null,
  }),
  define("celery.chunks", ["task", "it", "n"], sendChunks),
  define("celery.group", ["tasks", "result", "group_id", "partial_args", "add_to_parent"], sendGroup),
  define("celery.chord", ["header", "body", "partial_args", "interval", "countdown", "max_retries", "eager"], sendChord),
  storeDefinition(
    {
      name: "celery.chain",
      run(): never {
        throw new RemoteTaskError({ type: "NotImplementedError", module: "builtins", args: ["chain is not a real task"] });
      },
    },
    undefined,
    undefined,
  ),
];
