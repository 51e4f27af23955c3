/** Whether this thread or process is a child of a pool: there, the app's module must not start workers of its own. */
const KEY = Symbol.for("lovage.poolChild");
const holder = globalThis as { [KEY]?: boolean };

export function markAsPoolChild(): void {
  holder[KEY] = true;
}

export function isPoolChild(): boolean {
  return holder[KEY] === true;
}
