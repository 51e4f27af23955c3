/** True when it has no properties to enumerate. Makes no list of them: for hot paths. */
export function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}
