/** The one place of the app that reads `process.env`. */
import { nearestName } from "../shared/suggest.ts";
import { OLD_NAMES } from "./old-setting-names.ts";
import { findSetting, settingNames, snakeCase, type SettingsLayer } from "./settings.ts";
import { REFUSED_FAMILIES } from "./settings-table.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface FromEnvironment {
  readonly layer: SettingsLayer;
  /** Variables of the namespace that are no settings and resemble none: another program's, it seems. */
  readonly foreign: readonly string[];
}

export const DEFAULT_NAMESPACE = "CELERY";

/** Variables of Celery's and of its service scripts that are no settings. */
const NOT_SETTINGS: ReadonlySet<string> = new Set([
  "CONFIG_MODULE", "LOADER", "TRACE_APP", "SKIP_CHECKS", "BENCH", "CUSTOM_WORKER_POOL", "RDB_HOST", "RDB_PORT", "RDBSIG",
  "APP", "BIN", "CREATE_DIRS", "CREATE_RUNDIR", "CREATE_LOGDIR", "USER", "GROUP",
]); // prettier-ignore

export function processEnvironment(): Environment {
  return process.env;
}

/**
 * Settings among the variables. A name that is near to one is passed on, to be refused with the right one; what
 * resembles none may well be meant for another program that shares the environment, and is only reported.
 */
export function readEnvironment(env: Environment, namespace: string): FromEnvironment {
  const prefix = `${namespace}_`;
  const known = settingNames().map(snakeCase);
  const values: Record<string, unknown> = {};
  const foreign: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!value || !name.startsWith(prefix)) continue; // set to nothing is not set: compose files do that
    const bare = name.slice(prefix.length);
    if (NOT_SETTINGS.has(bare)) continue;
    const isMeant =
      findSetting(name, namespace) !== undefined || OLD_NAMES.has(name) || isRefused(bare) || nearestName(bare, known) !== undefined;
    if (isMeant) values[name] = value;
    else foreign.push(name);
  }
  return { layer: { origin: "the environment", values, isText: true }, foreign };
}

function isRefused(bare: string): boolean {
  return REFUSED_FAMILIES.some((family) => family.pattern.test(bare.toLowerCase()));
}
