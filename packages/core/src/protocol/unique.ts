/**
 * What makes a task unique, as a header of its message: whoever ends the task frees its lock, also a worker that does not know the task.
 * The header is text: mode, time to live, wait, most wait (all ms), and the lock's name, with spaces between.
 */

/**
 * done: until the task has ended. started: until its body begins. time: for the time to live, whatever becomes of the task.
 * debounce: while it waits to become due, and every call begins the wait anew. last: as done, and the last call of those that came
 * meanwhile takes its turn at the end.
 */
export type UniqueMode = (typeof MODES)[number];

export interface UniqueRule {
  readonly mode: UniqueMode;
  /** Unique among all locks: task and key. */
  readonly name: string;
  /** A lock that nobody frees ends by itself. */
  readonly ttlMs: number;
  /** Of `debounce`: from the last call. */
  readonly waitMs: number;
  /** Of `debounce`: from the first call; 0 is no limit. */
  readonly maxWaitMs: number;
}

export const UNIQUE_HEADER = "lovage_unique";
const MODES = ["done", "started", "time", "debounce", "last"] as const;
const SHAPE = /^([a-z]+) (\d{1,15}) (\d{1,15}) (\d{1,15}) (.{1,500})$/;

export function uniqueText({ mode, ttlMs, waitMs, maxWaitMs, name }: UniqueRule): string {
  return `${mode} ${ttlMs} ${waitMs} ${maxWaitMs} ${name}`;
}

/** What is not a mode counts as `done`. */
export function readUniqueMode(value: string | undefined): UniqueMode {
  return MODES.find((each) => each === value) ?? "done";
}

/** Undefined for what is not such a header: then the message is not unique. */
export function readUnique(value: unknown): UniqueRule | undefined {
  const parts = typeof value === "string" ? SHAPE.exec(value) : null;
  const mode = MODES.find((each) => each === parts?.[1]);
  if (parts === null || mode === undefined) return undefined;
  const [ttlMs, waitMs, maxWaitMs] = parts.slice(2, 5).map(Number) as [number, number, number];
  return { mode, ttlMs, waitMs, maxWaitMs, name: parts[5] as string };
}
