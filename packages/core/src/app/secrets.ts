/** Hides what must not be seen in logs, errors and reports: passwords in URLs, and values whose names look secret (Celery's list). */
import { resolvedName, settingOf } from "./settings.ts";
import type { SettingName } from "./settings-table.ts";

export const MASK = "********";

/** Celery's `HIDDEN_SETTINGS`, looked for anywhere in a name. Names of settings that merely contain such a word are shown. */
const SECRET_NAME = /api|token|key(?!prefix|alive)|secret|pass|profanities|signature|database/i;
const HARMLESS = new Set<string>([
  "taskDefaultRoutingKey",
  "redisSocketKeepalive",
  "routingKey",
  "routing_key",
  "keepalive",
  "socketKeepalive",
]);

/** A URL, or a list of them joined with `;`, without its passwords. Any other text as it is. */
export function maskUrl(text: string): string {
  return text
    .replaceAll(/(\b[a-z][a-z0-9+.-]*:\/\/)([^\s;,/@:]*):([^\s;]*)@/gi, `$1$2:${MASK}@`)
    .replaceAll(/([?&][^=&\s]*(?:pass|secret|token)[^=&\s]*=)[^&\s]*/gi, `$1${MASK}`);
}

/** A setting's value as it may be shown. */
export function maskSetting(name: SettingName, value: unknown): string {
  if (settingOf(name).secret && value !== null && value !== "") return MASK;
  return show(value, resolvedName(name));
}

/** Any value as it may be shown, with what hides inside of it masked. */
export function show(value: unknown, name = ""): string {
  return JSON.stringify(maskDeep(value, name)) ?? String(value);
}

export function maskDeep(value: unknown, name: string): unknown {
  if (isSecretName(name) && (typeof value === "string" || typeof value === "number")) return MASK;
  if (typeof value === "string") return maskUrl(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "function") return `[function ${value.name || "anonymous"}]`;
  if (value instanceof RegExp) return String(value);
  if (Array.isArray(value)) return value.map((item) => maskDeep(item, ""));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, maskDeep(part, key)]));
  return value;
}

export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) && !HARMLESS.has(name);
}
