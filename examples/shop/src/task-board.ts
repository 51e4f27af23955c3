/** Follows tasks by their results and tells listeners how each of them is doing. Runs in the web process; the tasks run elsewhere. */
import { setMaxListeners } from "node:events";
import type { ResultDocument } from "lovage";
import { app } from "./app.ts";

export interface TaskView {
  readonly id: string;
  readonly kind: "payment" | "report";
  /** What it is about, in the user's words. */
  readonly title: string;
  readonly sentAt: string;
  readonly state: "waiting" | "running" | "retrying" | "done" | "failed" | "unknown";
  readonly attempts: number;
  /** 0 to 100, where the task says so. */
  readonly percent: number | null;
  /** The worker that had it last. */
  readonly worker: string | null;
  /** Why it is retried or has failed. */
  readonly problem: string | null;
}

export type NewTask = Pick<TaskView, "id" | "kind" | "title" | "sentAt">;

const MOST_TASKS = 100;

export class TaskBoard {
  readonly #views = new Map<string, TaskView>();
  readonly #listeners = new Set<(view: TaskView) => void>();
  readonly #closing = new AbortController();

  constructor() {
    setMaxListeners(MOST_TASKS, this.#closing.signal); // one for each task that is followed
  }

  /** Oldest first. */
  get views(): readonly TaskView[] {
    return [...this.#views.values()];
  }

  /** Shows a task of which everything is known. */
  show(view: TaskView): void {
    this.#views.set(view.id, view);
    const oldest = this.#views.keys().next();
    if (this.#views.size > MOST_TASKS && !oldest.done) this.#views.delete(oldest.value);
    for (const listener of this.#listeners) listener(view);
  }

  /** Shows a task that was sent, now and with every state that it reaches, until it has ended. */
  async follow(task: NewTask): Promise<void> {
    this.show({ ...task, ...WAITING });
    const onMessage = (document: ResultDocument) => this.show({ ...task, ...progressOf(document) });
    try {
      await app.result(task.id).get({ onMessage, propagate: false, signal: this.#closing.signal, timeout: null });
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.show({ ...task, ...WAITING, state: "unknown", problem: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Returns what ends it. */
  listen(listener: (view: TaskView) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closing.abort();
  }
}

/** How a task is doing. */
export type Progress = Omit<TaskView, keyof NewTask>;

const WAITING: Progress = { state: "waiting", attempts: 0, percent: null, worker: null, problem: null };

/** From Celery's states to what the page says. */
function progressOf({ state, result, error, extended }: ResultDocument): Progress {
  const known = { attempts: (extended?.retries ?? 0) + 1, worker: extended?.worker ?? null, percent: null, problem: null };
  const problem = error ? (typeof error.args[0] === "string" ? error.args[0] : error.type) : null;
  switch (state) {
    case "STARTED":
      return { ...known, state: "running" };
    case "PROGRESS":
      return { ...known, state: "running", percent: percentOf(result) };
    case "RETRY":
      return { ...known, state: "retrying", problem };
    case "SUCCESS":
      return { ...known, state: "done", percent: 100 };
    case "FAILURE":
    case "REVOKED":
      return { ...known, state: "failed", problem };
    default:
      return WAITING;
  }
}

function percentOf(meta: unknown): number | null {
  const { current, total } = meta as { current?: number; total?: number };
  return current !== undefined && total ? Math.floor((current / total) * 100) : null;
}
