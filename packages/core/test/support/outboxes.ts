/** Databases with an outbox in them, and transactions in them, alike for PostgreSQL and SQLite. */
import { Lovage, type LovageOptions } from "../../src/app/app.ts";
import { pgExecutor, sqliteExecutor, type Executor } from "../../src/outbox/executor.ts";
import { openOutboxStore } from "../../src/outbox/open-store.ts";
import { pgClients, type PgClient } from "../../src/outbox/postgres/client.ts";
import type { OutboxStore } from "../../src/outbox/store.ts";
import { newId } from "../../src/shared/ids.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { loadSqlite, type Database } from "../../src/stores/sqlite/driver.ts";
import { takeOnce } from "../conformance/broker-model.ts";
import type { PostgresServer } from "./postgres-server.ts";
import { temporaryDatabase } from "./sqlite.ts";

export interface Transaction {
  readonly executor: Executor;
  run(sql: string): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

export interface OutboxHome extends AsyncDisposable {
  readonly app: Lovage;
  readonly url: string;
  readonly store: OutboxStore;
  /** Another connection to it. */
  openStore(): OutboxStore;
  begin(): Promise<Transaction>;
  /** The messages in the queue, first to last; they are taken out. */
  sent(queue?: string): Promise<readonly SentTask[]>;
}

export interface SentTask {
  readonly id: string;
  readonly task: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** A PostgreSQL client, as `pg` makes it. */
export async function connectPg(url: string): Promise<PgClient> {
  const client = await pgClients(url)();
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** A database of its own. */
export async function newPgDatabase(server: PostgresServer): Promise<string> {
  const name = `t${newId().replaceAll("-", "")}`;
  const admin = await connectPg(server.url);
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  return server.url.replace(/postgres$/, name);
}

export async function postgresOutbox(server: PostgresServer, settings: LovageOptions = {}): Promise<OutboxHome> {
  const url = await newPgDatabase(server);
  return await home(url, settings, async () => {
    const client = await connectPg(url);
    await client.query("BEGIN");
    const end = async (sql: string): Promise<void> => {
      await client.query(sql);
      await client.end();
    };
    return {
      executor: pgExecutor(client),
      run: async (sql) => void (await client.query(sql)),
      commit: () => end("COMMIT"),
      rollback: () => end("ROLLBACK"),
    };
  });
}

export async function sqliteOutbox(settings: LovageOptions = {}): Promise<OutboxHome> {
  const file = await temporaryDatabase();
  const DatabaseSync = await loadSqlite();
  const opened = await home(`sqlite://${file.path}`, settings, async () => {
    const database: Database = new DatabaseSync(file.path);
    database.exec("PRAGMA busy_timeout = 5000");
    database.exec("BEGIN IMMEDIATE");
    const end = async (sql: string): Promise<void> => {
      database.exec(sql);
      database.close();
    };
    return {
      executor: sqliteExecutor(database),
      run: async (sql) => database.exec(sql),
      commit: () => end("COMMIT"),
      rollback: () => end("ROLLBACK"),
    };
  });
  const dispose = opened[Symbol.asyncDispose].bind(opened);
  return {
    ...opened,
    async [Symbol.asyncDispose]() {
      await dispose();
      await file[Symbol.asyncDispose]();
    },
  };
}

async function home(url: string, settings: LovageOptions, begin: () => Promise<Transaction>): Promise<OutboxHome> {
  const app = new Lovage("shop", {
    brokerUrl: `memory://${newId()}`,
    resultBackend: "disabled://",
    outboxUrl: url,
    env: false,
    configFile: false,
    logger: silentLogger,
    ...settings,
  });
  const store = openOutboxStore(app);
  await store.migrate();
  const opened: OutboxStore[] = [store];
  return {
    app,
    url,
    store,
    begin,
    openStore() {
      const another = openOutboxStore(app);
      opened.push(another);
      return another;
    },
    async sent(queue = "celery") {
      const broker = await app.broker();
      const [depth] = await broker.depth([queue]);
      const tasks: SentTask[] = [];
      while (tasks.length < (depth?.ready ?? 0)) {
        for (const delivery of await takeOnce(broker, [queue], `test-${newId()}`, 500)) {
          const { headers, body } = delivery.open().message;
          tasks.push({ id: String(headers["id"]), task: String(headers["task"]), headers, body: Buffer.from(body).toString() });
        }
      }
      return tasks;
    },
    async [Symbol.asyncDispose]() {
      for (const each of opened) await each[Symbol.asyncDispose]();
      await app.close();
    },
  };
}
