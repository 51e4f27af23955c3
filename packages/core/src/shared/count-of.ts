/** `1 message`, `2 messages`: a number and what it counts, for a line that people read. */
export function countOf(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
