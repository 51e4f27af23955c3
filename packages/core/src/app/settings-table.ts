/**
 * The one table of settings, by subject in `settings-tables/`. Types, names in the environment and in files, the documentation, masking and
 * the report all come from it. Names and units are Celery's; a default differs from Celery's only where that would lose work or
 * surprise, and then `celery` keeps Celery's own for `preset: "celery"`.
 */
import { BROKER_SETTINGS } from "./settings-tables/broker-settings.ts";
import { RESULT_SETTINGS } from "./settings-tables/result-settings.ts";
import { SERVICE_SETTINGS } from "./settings-tables/service-settings.ts";
import { TASK_SETTINGS } from "./settings-tables/task-settings.ts";
import { WORKER_SETTINGS } from "./settings-tables/worker-settings.ts";

export type { Setting } from "./settings-tables/setting.ts";

/** In the order of the page. */
export const SETTINGS_TABLE = {
  ...TASK_SETTINGS,
  ...BROKER_SETTINGS,
  ...RESULT_SETTINGS,
  ...WORKER_SETTINGS,
  ...SERVICE_SETTINGS,
} as const;

export type SettingsTable = typeof SETTINGS_TABLE;
export type SettingName = keyof SettingsTable;

/** Families of Celery settings for stores that do not exist here: refused, so that nobody believes results are kept there. */
export const REFUSED_FAMILIES: readonly { readonly pattern: RegExp; readonly store: string }[] = [
  { pattern: /^database_/, store: "SQL databases (use sqlite:// or redis://)" },
  { pattern: /^cache_backend/, store: "caches such as Memcached" },
  { pattern: /^mongodb_/, store: "MongoDB" },
  { pattern: /^cassandra_/, store: "Cassandra" },
  { pattern: /^s3_/, store: "S3" },
  { pattern: /^azureblockblob_/, store: "Azure Block Blob" },
  { pattern: /^gcs_/, store: "Google Cloud Storage" },
  { pattern: /^elasticsearch_/, store: "Elasticsearch" },
  { pattern: /^couchbase_/, store: "Couchbase" },
  { pattern: /^couchdb_/, store: "CouchDB" },
  { pattern: /^arangodb_/, store: "ArangoDB" },
  { pattern: /^cosmosdbsql_/, store: "Cosmos DB" },
  { pattern: /^dynamodb_/, store: "DynamoDB" },
  { pattern: /^consul_/, store: "Consul" },
  { pattern: /^riak_/, store: "Riak" },
];
