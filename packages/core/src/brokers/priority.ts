/**
 * The steps into which the brokers without priorities of their own sort messages, as kombu's Redis transport does
 * (celery-protocol 3.3): step 0 is served first, 9 last.
 */
export const PRIORITY_STEPS = [0, 3, 6, 9] as const;
export type PriorityStep = (typeof PRIORITY_STEPS)[number];

/** The largest step that is not above the priority. Priorities are cut to 0..9; what is no integer counts as 0. */
export function priorityStep(priority: number): PriorityStep {
  if (!Number.isInteger(priority) || priority < 3) return 0;
  if (priority < 6) return 3;
  return priority < 9 ? 6 : 9;
}
