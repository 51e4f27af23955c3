/** Which of a module's exports is the app. Pure. */
import { didYouMean } from "../shared/suggest.ts";
import { AppNotFoundError } from "./errors.ts";

/**
 * @param isApp an app may come from another copy of Lovage than the command line's, so it is not a matter of `instanceof` alone
 * @param where the module, for messages
 * @throws AppNotFoundError
 */
export function findApp<App>(
  module: Readonly<Record<string, unknown>>,
  wanted: string | undefined,
  isApp: (value: unknown) => value is App,
  where: string,
): App {
  const exported = withDefaultObject(module);
  if (wanted !== undefined) {
    const value = exported[wanted];
    if (isApp(value)) return value;
    const known = Object.keys(exported);
    throw new AppNotFoundError(
      value === undefined
        ? `${where} has no export ${wanted}.${didYouMean(wanted, known)}`
        : `the export ${wanted} of ${where} is no app, but ${describe(value)}`,
    );
  }
  for (const usual of ["app", "default"]) {
    const value = exported[usual];
    if (isApp(value)) return value;
  }
  const apps = new Map(Object.entries(exported).flatMap(([name, value]) => (isApp(value) ? [[value, name] as const] : [])));
  const [only] = apps.keys();
  if (apps.size === 1 && only !== undefined) return only;
  if (apps.size > 1) {
    const names = [...apps.values()];
    throw new AppNotFoundError(`${where} exports several apps: ${names.join(", ")}`, `say which one: -A ${where}:${names[0]}`);
  }
  throw new AppNotFoundError(`${where} exports no app`, 'it needs a line such as: export const app = new Lovage("shop")');
}

/** CommonJS: what `module.exports = { app }` gives appears under `default` when it is imported. */
function withDefaultObject(module: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const value = module["default"];
  const isPlain = typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value));
  return isPlain ? { ...(value as Record<string, unknown>), ...module } : module;
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "object") return `an object of class ${value.constructor?.name ?? "unknown"}`;
  return `a ${typeof value}`;
}
