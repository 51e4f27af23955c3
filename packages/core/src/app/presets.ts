/** Sets of defaults that are chosen with the setting `preset`. Anything that is set explicitly wins over them. */
import type { SettingsLayer } from "./settings.ts";
import { SETTINGS_TABLE, type Setting } from "./settings-table.ts";

/** Celery's own defaults, where ours differ. */
function celeryDefaults(): Readonly<Record<string, unknown>> {
  const rows = Object.entries(SETTINGS_TABLE as Readonly<Record<string, Setting>>);
  return Object.fromEntries(rows.filter(([, row]) => row.celery !== undefined).map(([name, row]) => [name, row.celery]));
}

export const PRESETS: { readonly celery: SettingsLayer; readonly production: SettingsLayer } = {
  celery: { origin: 'the preset "celery"', values: celeryDefaults() },
  production: {
    origin: 'the preset "production"',
    values: {
      acceptContent: ["json"],
      taskSerializer: "json",
      resultSerializer: "json",
      timezone: "UTC",
      enableUtc: true,
      taskAcksLate: true,
      taskRejectOnWorkerLost: true,
      workerPrefetchMultiplier: 1,
      taskTimeLimit: 1800,
      taskSoftTimeLimit: 1500,
      resultExpires: 86_400,
      brokerConnectionRetryOnStartup: true,
      brokerConnectionMaxRetries: null,
    },
  },
};
