/**
 * Sending a task once a transaction has committed, by a hook of the framework's. Weaker than the outbox: a crash between the commit and
 * the publish loses the task. Never before the commit, and never after a rollback.
 */
import type { Lovage } from "../app/app.ts";
import { AsyncResult } from "../app/async-result.ts";
import type { TaskCall } from "../app/call-options.ts";

/** Knex's transaction: `executionPromise` resolves at the commit, and rejects at a rollback. */
interface KnexTransaction {
  readonly executionPromise: Promise<unknown>;
}

/** Sequelize's transaction. */
interface SequelizeTransaction {
  afterCommit(run: () => void): unknown;
}

/** Calls what it is given once the transaction has committed, and never when it is rolled back. */
export type CommitHook = (run: () => void) => unknown;

export type CommitSource = KnexTransaction | SequelizeTransaction | CommitHook;

/**
 * The call is checked and made now, and sent after the commit; its id is known at once. A publish that fails is logged as an error.
 * @throws what `applyAsync` throws before it sends
 */
export function delayAfterCommit<Result>(app: Lovage, transaction: CommitSource, call: TaskCall<Result>): AsyncResult<Result> {
  const sending = app.calls.prepare(call);
  const send = (): void => {
    app.calls.publish([sending]).catch((error: unknown) => {
      app.logger.error({ err: error, task: call.name, id: sending.taskId }, "a task could not be sent after its transaction committed");
    });
  };
  onCommit(transaction, send);
  return new AsyncResult<Result>(app, sending.taskId);
}

function onCommit(transaction: CommitSource, run: () => void): void {
  if (isKnex(transaction)) transaction.executionPromise.then(run, () => undefined); // Knex's is a function too
  else if (typeof transaction === "function") transaction(run);
  else transaction.afterCommit(run);
}

function isKnex(transaction: CommitSource): transaction is KnexTransaction {
  return "executionPromise" in transaction;
}
