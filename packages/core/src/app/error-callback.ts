/**
 * The two forms of an error callback. The short one is given the id of the task that failed, wherever it runs. The longer one is
 * given what failed, the error and its traceback; Celery calls such functions in the worker, here they are tasks like all others.
 */
import type { FailedRequest } from "../canvas/follow.ts";
import { shapeOf } from "../canvas/signature-data.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Lovage } from "./app.ts";

/** As results hold it. */
export interface FailureDocument {
  readonly exc_type: string;
  readonly exc_message: unknown;
  readonly exc_module: string;
}

/** An error callback of the longer form. */
export interface FailureLink {
  readonly accepts: (input: [request: FailedRequest, error: FailureDocument, traceback: string | null]) => void;
  toJSON(): SignatureData;
}

/** Its task is defined in this app and takes exactly three arguments more than it has: with fewer it is the short form. */
export function takesFailure(app: Lovage, errback: SignatureData): boolean {
  if (errback.immutable || shapeOf(errback).kind !== "task") return false;
  const definition = app.tasks.get(errback.task)?.definition;
  if (definition === undefined) return false;
  return definition.run.length - (definition.takesContext ? 1 : 0) - errback.args.length === 3;
}
