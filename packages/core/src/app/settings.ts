/** Types of settings, and how layers of them become one frozen object. Pure: what the layers hold is read elsewhere. */
import { didYouMean } from "../shared/suggest.ts";
import { SettingError } from "./errors.ts";
import { OLD_NAMES } from "./old-setting-names.ts";
import { PRESETS } from "./presets.ts";
import { maskSetting } from "./secrets.ts";
import { NotAccepted, type InputOf, type ValueOf } from "./setting-kinds.ts";
import { REFUSED_FAMILIES, SETTINGS_TABLE, type Setting, type SettingName, type SettingsTable } from "./settings-table.ts";

type InputFor<S> = S extends { readonly kind: infer K } ? InputOf<K> : never;
type ValueFor<S> = S extends { readonly kind: infer K } ? ValueOf<K> : never;
type ResolvedName<Name extends SettingName> = SettingsTable[Name]["kind"] extends { readonly isDuration: true } ? `${Name}Ms` : Name;

/** What users write in code: Celery's names in camelCase, Celery's units. */
export type SettingsInput = { readonly [Name in SettingName]?: InputFor<SettingsTable[Name]> };

/** Resolved: every setting has a value; durations are milliseconds and their names end in `Ms`. */
export type Settings = { readonly [Name in SettingName as ResolvedName<Name>]: ValueFor<SettingsTable[Name]> };

/** Some settings from one place. The first layer that has a setting wins. */
export interface SettingsLayer {
  /** For messages: `the environment`, a file's path, `the code`. */
  readonly origin: string;
  /** Spelled in camelCase, snake_case, or upper case with the namespace. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Values are texts, to be read as the setting's kind says. */
  readonly isText?: boolean;
}

export interface ResolvedSettings {
  readonly settings: Settings;
  /** Where each value came from; absent for defaults. */
  readonly origins: ReadonlyMap<SettingName, string>;
  /** Settings that were given and have no effect here, with the reason. */
  readonly unused: readonly { readonly name: SettingName; readonly why: string }[];
}

const TABLE: Readonly<Record<string, Setting>> = SETTINGS_TABLE;
const NAMES = Object.keys(SETTINGS_TABLE) as SettingName[];
/** By every spelling but that of the environment: `taskAcksLate`, `task_acks_late`. */
const BY_SPELLING: ReadonlyMap<string, SettingName> = new Map(
  NAMES.flatMap((name) => [[name, name] as const, [snakeCase(name), name] as const]),
);

export function settingNames(): readonly SettingName[] {
  return NAMES;
}

export function settingOf(name: SettingName): Setting {
  return TABLE[name] as Setting;
}

/** The name after resolution: durations are given in ms. */
export function resolvedName(name: SettingName): string {
  return settingOf(name).kind.isDuration ? `${name}Ms` : name;
}

/** `taskAcksLate` is `task_acks_late`. */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `taskAcksLate` is `CELERY_TASK_ACKS_LATE`. */
export function environmentName(name: SettingName, namespace: string): string {
  return `${namespace}_${snakeCase(name).toUpperCase()}`;
}

/** The setting that a name stands for in any spelling, or undefined. */
export function findSetting(written: string, namespace: string): SettingName | undefined {
  const prefix = `${namespace}_`;
  if (!written.startsWith(prefix)) return BY_SPELLING.get(written);
  const bare = written.slice(prefix.length);
  return bare === bare.toUpperCase() ? BY_SPELLING.get(bare.toLowerCase()) : undefined;
}

/** @throws SettingError for a name that is not known or a value that is not accepted. */
export function resolveSettings(layers: readonly SettingsLayer[], namespace: string): ResolvedSettings {
  const given = layers.map((layer) => readLayer(layer, namespace));
  const preset = given.map((layer) => layer.get("preset")?.value).find((value) => value !== undefined && value !== null);
  const presetValues = preset === undefined ? new Map() : readLayer(PRESETS[preset as keyof typeof PRESETS], namespace);
  const settings: Record<string, unknown> = {};
  const origins = new Map<SettingName, string>();
  const unused: { name: SettingName; why: string }[] = [];
  for (const name of NAMES) {
    const row = settingOf(name);
    const found = given.find((layer) => layer.has(name))?.get(name) ?? (presetValues.get(name) as Given | undefined);
    settings[resolvedName(name)] = found ? found.value : row.kind.read(row.default);
    if (!found) continue;
    origins.set(name, found.origin);
    if (row.scope === "unused") unused.push({ name, why: row.meaning });
  }
  const resolved = { settings: Object.freeze(settings) as unknown as Settings, origins, unused };
  checkTogether(resolved);
  return resolved;
}

/** What each setting allows and both together do not. */
function checkTogether({ settings, origins }: ResolvedSettings): void {
  if (settings.preset !== "production" || !settings.taskAlwaysEager) return;
  const origin = origins.get("taskAlwaysEager") ?? "the code";
  throw new SettingError(
    "taskAlwaysEager",
    origin,
    `taskAlwaysEager in ${origin} is true, which the preset "production" does not allow: tasks would run in their callers`,
  );
}

interface Given {
  readonly value: unknown;
  readonly origin: string;
}

function readLayer(layer: SettingsLayer, namespace: string): Map<SettingName, Given> {
  const found = new Map<SettingName, Given>();
  const spelling = new Map<SettingName, string>();
  for (const [written, value] of Object.entries(layer.values)) {
    if (value === undefined) continue;
    const name = findSetting(written, namespace) ?? unknownName(written, layer.origin, namespace);
    const earlier = spelling.get(name);
    if (earlier !== undefined) {
      throw new SettingError(written, layer.origin, `${earlier} and ${written} in ${layer.origin} are the same setting: keep one of them`);
    }
    spelling.set(name, written);
    found.set(name, { value: readValue(name, written, value, layer), origin: layer.origin });
  }
  return found;
}

function readValue(name: SettingName, written: string, value: unknown, layer: SettingsLayer): unknown {
  const { kind } = settingOf(name);
  try {
    return kind.read(layer.isText ? kind.fromText(value as string) : value);
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error;
    const detail = error.detail === undefined ? "" : ` (${error.detail})`;
    throw new SettingError(
      written,
      layer.origin,
      `${written} in ${layer.origin} is ${maskSetting(name, value)}, which is not accepted${detail}: it takes ${kind.accepts}`,
    );
  }
}

function unknownName(written: string, origin: string, namespace: string): never {
  const bare = withoutNamespace(written, namespace);
  const snake = /[a-z]/.test(bare) ? snakeCase(bare) : bare.toLowerCase();
  const refused = REFUSED_FAMILIES.find((family) => family.pattern.test(snake));
  if (refused) throw new SettingError(written, origin, `${written} in ${origin}: results cannot be kept in ${refused.store}`);
  const modern = OLD_NAMES.get(written.toUpperCase()) ?? OLD_NAMES.get(bare.toUpperCase());
  if (modern !== undefined) {
    throw new SettingError(
      written,
      origin,
      `${written} in ${origin} is the name from before Celery 4; it is called ${respell(modern, written, namespace)} now`,
    );
  }
  const known = NAMES.map((name) => respell(name, written, namespace));
  throw new SettingError(written, origin, `${written} in ${origin} is not a setting.${didYouMean(written, known)}`);
}

/** A known name in the spelling of the one that was written. */
function respell(name: SettingName, written: string, namespace: string): string {
  if (written.startsWith(`${namespace}_`)) return environmentName(name, namespace);
  return written.includes("_") ? snakeCase(name) : name;
}

function withoutNamespace(written: string, namespace: string): string {
  return written.startsWith(`${namespace}_`) ? written.slice(namespace.length + 1) : written;
}
