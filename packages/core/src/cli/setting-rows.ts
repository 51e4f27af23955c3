/** Resolved settings as they may be shown: in Celery's spelling, with where they come from, secrets masked. Pure. */
import { maskDeep, maskSetting } from "../app/secrets.ts";
import { resolvedName, settingNames, settingOf, snakeCase, type ResolvedSettings } from "../app/settings.ts";
import type { SettingName } from "../app/settings-table.ts";
import { formatDuration } from "../shared/duration.ts";

export interface SettingRow {
  /** `task_time_limit` */
  readonly name: string;
  /** For people: durations in words, as they may be written. */
  readonly shown: string;
  /** For programs: durations in seconds, as in Celery. */
  readonly plain: unknown;
  /** `the environment`, a file, `the code`, `the command line`, `default`. */
  readonly origin: string;
}

export function settingRows(resolved: ResolvedSettings, wanted: (name: SettingName, isSet: boolean) => boolean): readonly SettingRow[] {
  return settingNames()
    .filter((name) => wanted(name, resolved.origins.has(name)))
    .map((name) => settingRow(name, resolved));
}

function settingRow(name: SettingName, { settings, origins }: ResolvedSettings): SettingRow {
  const value: unknown = settings[resolvedName(name) as keyof typeof settings];
  const isDuration = settingOf(name).kind.isDuration === true && typeof value === "number";
  const isSecret = settingOf(name).secret === true && value !== null;
  return {
    name: snakeCase(name),
    shown: isDuration ? formatDuration(value) : maskSetting(name, value),
    plain: isDuration ? value / 1000 : isSecret ? maskSetting(name, value) : maskDeep(value, resolvedName(name)),
    origin: origins.get(name) ?? "default",
  };
}
