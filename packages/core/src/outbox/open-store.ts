/** From a URL to the outbox in that database. Nothing is opened before it is used. */
import { resolve } from "node:path";
import type { Lovage } from "../app/app.ts";
import { ConfigurationError } from "../app/errors.ts";
import { maskUrl } from "../app/secrets.ts";
import type { Dialect } from "./migrations.ts";
import { pgClients } from "./postgres/client.ts";
import { PostgresStore } from "./postgres/postgres-store.ts";
import { SqliteStore } from "./sqlite/sqlite-store.ts";
import type { OutboxStore } from "./store.ts";

const KNOWN = "Known are postgres:// and sqlite://";

/**
 * @param url default: the app's setting `outboxUrl`. Relative paths of SQLite start at the app's folder
 * @throws ConfigurationError
 */
export function openOutboxStore(app: Lovage, url?: string): OutboxStore {
  const chosen = url ?? app.settings.outboxUrl;
  if (chosen === null)
    throw new ConfigurationError(`no outbox is named: set ${app.namespace}_OUTBOX_URL, for example postgres://user@localhost/shop`);
  const { clock, random, settings } = app;
  const claimMs = 2 * settings.publishTimeoutMs + 30_000; // a relay that is merely slow must not lose it
  if (dialectOf(chosen) === "postgres")
    return new PostgresStore({ location: maskUrl(chosen), newClient: pgClients(chosen), clock, claimMs });
  const path = decodeURI(chosen.slice("sqlite:".length).split("?")[0] as string)
    .replace(/^\/\//, "")
    .replace(/^\/{2,}/, "/"); // as in a broker's URL
  return new SqliteStore({ path: resolve(app.files.root, path), clock, random, leaseMs: 2 * settings.publishTimeoutMs + 5000 });
}

/** @throws ConfigurationError */
export function dialectOf(url: string): Dialect {
  const scheme = /^([a-z]+):/i.exec(url)?.[1]?.toLowerCase();
  if (scheme === "postgres" || scheme === "postgresql") return "postgres";
  if (scheme === "sqlite") return "sqlite";
  throw new ConfigurationError(`the outbox is in ${maskUrl(url)}, whose scheme is not known. ${KNOWN}`);
}
