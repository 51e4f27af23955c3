/**
 * Priorities of messages. The brokers there are sort by steps of kombu's scale, from 0, which is served first, to 9. kombu cuts what lies
 * outside without a word, so that 50 is served with 9; here it is refused where it is said. What Python has sent is taken as it is.
 */
export const PRIORITY_FIRST = 0;
export const PRIORITY_LAST = 9;

export const PRIORITY_ACCEPTED = `a whole number from ${PRIORITY_FIRST}, which is served first, to ${PRIORITY_LAST}`;

export function isPriority(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= PRIORITY_FIRST && (value as number) <= PRIORITY_LAST;
}
