/** Says REVOKED to whoever waits for a task, before any worker has come to its message: as Celery's workers do when they hear of it. */
import { TaskRevokedError } from "../protocol/celery-errors.ts";
import { toWireException } from "../protocol/exception.ts";
import { encodeResult, type ResultDocument } from "../protocol/result.ts";
import { isReady } from "../protocol/states.ts";
import type { ResultWrite } from "../results/result-backend.ts";
import type { Lovage } from "./app.ts";

const PORTION = 1000;

/** Leaves alone what has ended. Does nothing without a result backend. @throws BackendUnavailableError */
export async function storeRevoked(app: Lovage, ids: readonly string[]): Promise<void> {
  const backend = await app.backend();
  if (backend === undefined) return;
  for (let from = 0; from < ids.length; from += PORTION) {
    const portion = ids.slice(from, from + PORTION);
    const texts = await backend.fetch(portion);
    const writes = portion.flatMap((id, at) => {
      const text = texts[at];
      const known = text === undefined ? undefined : app.results.decode(text);
      return known !== undefined && isReady(known.state) ? [] : [revokedWrite(app, id, known)];
    });
    if (writes.length > 0) await backend.store(writes);
  }
}

function revokedWrite({ settings, clock }: Lovage, taskId: string, known: ResultDocument | undefined): ResultWrite {
  const document: ResultDocument = {
    taskId,
    state: "REVOKED",
    result: undefined,
    error: toWireException(new TaskRevokedError("revoked")),
    traceback: null,
    children: known?.children ?? [],
    dateDoneAt: clock.now(),
    parentId: known?.parentId,
    groupId: known?.groupId,
  };
  return {
    taskId,
    state: "REVOKED",
    document: encodeResult(document, { serializer: settings.resultSerializer }),
    expiresMs: settings.resultExpiresMs || undefined,
  };
}
