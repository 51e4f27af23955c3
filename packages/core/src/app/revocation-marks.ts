/** What is said not to run, as the texts that a broker keeps: one mark for a task's id, one for each value of a stamp. */
import type { ReceivedTask } from "../protocol/task-message.ts";

export function taskMark(id: string): string {
  return `task:${id}`;
}

/** A stamp's value as it stands in a message; `1` and `"1"` are two values, as in Python. */
export function stampMark(name: string, value: StampValue): string {
  return `stamp:${JSON.stringify([name, value])}`;
}

export type StampValue = string | number | boolean;

export function isStampValue(value: unknown): value is StampValue {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

export const isStampMark = (mark: string): boolean => mark.startsWith("stamp:");

/** The id of a task's mark; undefined for another mark. */
export function taskOfMark(mark: string): string | undefined {
  return mark.startsWith("task:") ? mark.slice("task:".length) : undefined;
}

/** The marks of all values of its stamps: a stamp holds one, or a list of them. */
export function stampMarksOf({ stamps }: Pick<ReceivedTask, "stamps">): string[] {
  return Object.entries(stamps).flatMap(([name, value]) =>
    (Array.isArray(value) ? (value as unknown[]) : [value]).filter(isStampValue).map((each) => stampMark(name, each)),
  );
}
