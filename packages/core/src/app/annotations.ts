/** `taskAnnotations`: options of tasks, overridden from the configuration by name, glob or function. */
import { nameMatcher } from "./name-pattern.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";
import type { TaskOptions } from "./task-options.ts";

export type AnnotationFunction = (task: { readonly name: string; readonly options: TaskOptions }) => TaskOptions | null | undefined;
export type AnnotationTable = Readonly<Record<string, TaskOptions>>;
export type AnnotationsInput = AnnotationTable | AnnotationFunction | readonly (AnnotationTable | AnnotationFunction)[];

/** Later ones win over earlier ones, and all over the task's own options. */
export type Annotation = (task: { readonly name: string; readonly options: TaskOptions }) => TaskOptions | null | undefined;

/** @throws NotAccepted with the entry that is wrong. */
export function readAnnotations(value: unknown): readonly Annotation[] {
  return (Array.isArray(value) ? value : [value]).flatMap((item: unknown): Annotation[] => {
    if (typeof item === "function") return [item as AnnotationFunction];
    if (!isPlain(item)) throw new NotAccepted();
    return Object.entries(item).map(([pattern, options]) => {
      if (!isPlain(options)) throw new NotAccepted(`the options for ${pattern} are not an object`);
      const matches = nameMatcher(pattern);
      return (task) => (matches(task.name) ? camelKeys(options) : undefined);
    });
  });
}

/** `rate_limit` is `rateLimit`: config files may use either. */
export function camelKeys(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [camelCase(key), value]));
}

export function camelCase(name: string): string {
  return name.replaceAll(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
