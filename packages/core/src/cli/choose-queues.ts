/** Which queues -Q and -X leave. Pure. */
import { didYouMean } from "../shared/suggest.ts";
import { UsageError } from "./errors.ts";

/**
 * @param declared the app's own queues, used without -Q
 * @throws UsageError when nothing is left, or -X names a queue that would not have been used anyway (a typo, most likely)
 */
export function chooseQueues(
  declared: readonly string[],
  only: readonly string[] | undefined,
  except: readonly string[] | undefined,
): readonly string[] {
  const candidates = [...new Set(only ?? declared)];
  for (const name of except ?? []) {
    if (!candidates.includes(name))
      throw new UsageError(`-X ${name}: that queue is not among ${candidates.join(", ")}.${didYouMean(name, candidates)}`);
  }
  const left = candidates.filter((name) => !except?.includes(name));
  if (left.length === 0) throw new UsageError(`no queue is left: -X excludes all of ${candidates.join(", ")}`);
  return left;
}
