/**
 * Tasks that are sent if, and only if, the transaction commits that they are written in. The message is made at the call, with the route,
 * options and checks of any other call; the relay publishes it as it stands. So the id of the task is known before anything is sent.
 */
import type { Lovage } from "../app/app.ts";
import { AsyncResult } from "../app/async-result.ts";
import type { TaskCall } from "../app/call-options.ts";
import { CallError } from "../app/errors.ts";
import { encodeEnvelope } from "../protocol/envelope.ts";
import type { Executor } from "./executor.ts";

export interface EnqueueOptions {
  /** Tasks of one key are published in the order in which they were enqueued. Default: in any order. */
  readonly key?: string;
}

/** Rows of one INSERT: PostgreSQL takes 65,535 parameters, SQLite 32,766. */
const ROWS = 500;
const COLUMNS = 4;

export class Outbox {
  readonly #app: Lovage;

  constructor(app: Lovage) {
    this.#app = app;
  }

  /**
   * Writes a call into the outbox, in the transaction that `into` stands for. Nothing is sent before that commits.
   * @throws what `applyAsync` throws before it sends, and what the database throws
   */
  async enqueue<Result>(into: Executor, call: TaskCall<Result>, options: EnqueueOptions = {}): Promise<AsyncResult<Result>> {
    const [result] = await this.enqueueMany(into, [call], options);
    return result as AsyncResult<Result>; // one for each call
  }

  /** Many calls with one statement for each 500. */
  async enqueueMany<Result>(
    into: Executor,
    calls: readonly TaskCall<Result>[],
    options: EnqueueOptions = {},
  ): Promise<AsyncResult<Result>[]> {
    const rows = this.#rowsOf(calls, options);
    for (const { sql, params } of insertsOf(into, rows)) await into.execute(sql, params);
    return rows.map(({ taskId }) => new AsyncResult<Result>(this.#app, taskId));
  }

  /**
   * For transactions that are functions without `await`, such as those of `better-sqlite3`: what goes wrong is thrown at once, and so
   * rolls back. @throws as `enqueue`; CallError when the executor is not one of SQLite
   */
  enqueueSync<Result>(into: Executor, call: TaskCall<Result>, options: EnqueueOptions = {}): AsyncResult<Result> {
    if (into.dialect !== "sqlite")
      throw new CallError(call.name, "enqueueSync needs a database that answers at once, as SQLite does: use enqueue");
    const rows = this.#rowsOf([call], options);
    for (const { sql, params } of insertsOf(into, rows)) into.execute(sql, params);
    return new AsyncResult<Result>(this.#app, rows[0]?.taskId as string); // one for the call
  }

  #rowsOf(calls: readonly TaskCall[], { key = null }: { readonly key?: string | null }): readonly Row[] {
    return calls.map((call) => {
      const { outgoing, taskId } = this.#app.calls.prepare(call);
      const envelope = encodeEnvelope(outgoing.message, outgoing, taskId); // the broker that publishes it gives it a delivery tag of its own
      return { taskId, params: [taskId, key, call.name, envelope] };
    });
  }
}

interface Row {
  readonly taskId: string;
  readonly params: readonly (string | null)[];
}

function* insertsOf(
  into: Executor,
  rows: readonly Row[],
): Generator<{ readonly sql: string; readonly params: readonly (string | null)[] }> {
  for (let at = 0; at < rows.length; at += ROWS) {
    const part = rows.slice(at, at + ROWS);
    yield { sql: insertText(into.dialect, part.length), params: part.flatMap(({ params }) => params) };
  }
}

function insertText(dialect: Executor["dialect"], rows: number): string {
  const tuples: string[] = [];
  for (let row = 0; row < rows; row++) {
    const marks = Array.from({ length: COLUMNS }, (_, column) => (dialect === "sqlite" ? "?" : `$${row * COLUMNS + column + 1}`));
    tuples.push(`(${marks.join(", ")})`);
  }
  return `INSERT INTO lovage_outbox (id, key, task, envelope) VALUES ${tuples.join(", ")}`;
}
