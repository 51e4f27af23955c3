/**
 * A child of outbox-kill.test.ts: an application that writes orders and their tasks, or the relay. Before each of its steps it tells the
 * test which one comes, and waits to be let go on; meanwhile anything may be killed, this process too.
 */
import { Lovage } from "../../dist/index.js";
import { Outbox, OutboxRelay, openOutboxStore } from "../../dist/outbox/index.js";
import { pgClients } from "../../dist/outbox/postgres/client.js";
import { PostgresStore } from "../../dist/outbox/postgres/postgres-store.js";
import { silentLogger } from "../../dist/shared/log.js";
import { systemClock, sleep } from "../../dist/shared/clock.js";
import { loadSqlite } from "../../dist/stores/sqlite/driver.js";

const { role, database, redis } = JSON.parse(process.argv[2]);
const isPostgres = database.startsWith("postgres");
const settings = {
  brokerUrl: redis,
  resultBackend: "disabled://",
  outboxUrl: database,
  env: false,
  configFile: false,
  logger: silentLogger,
};
const app = new Lovage("shop", settings);

let goOn;
let connected;
const orders = [];
process.on("message", (message) => {
  if (message === "go") goOn?.();
  else orders.push(message);
});
process.on("disconnect", () => process.exit(1));

async function step(name) {
  await new Promise((resolve) => {
    goOn = resolve;
    process.send({ step: `${role}: ${name}` });
  });
}

/** The steps of a relay and of the application in PostgreSQL, by the statements they begin with. */
const STATEMENTS = [
  [/^BEGIN/, "begin"],
  [/^\s*SELECT l\.lane/, "lanes"],
  [/^\s*SELECT seq, id/, "rows"],
  [/^DELETE FROM lovage_outbox /, "delete"],
  [/^UPDATE counters/, "count"],
  [/^INSERT INTO orders/, "order"],
  [/^INSERT INTO lovage_outbox/, "outbox"],
  [/^(COMMIT|ROLLBACK)/, "end"],
];

async function steppedClient() {
  const client = await pgClients(database)();
  client.on("error", () => undefined);
  const query = client.query.bind(client);
  client.query = async (...args) => {
    const name = STATEMENTS.find(([pattern]) => pattern.test(args[0]))?.[1];
    if (name !== undefined) await step(name);
    const answer = await query(...args);
    if (name === "end") await step("ended");
    return answer;
  };
  return client;
}

if (role === "relay") await relay();
else await write();

async function relay() {
  const broker = await app.broker();
  const publish = broker.publish.bind(broker);
  broker.publish = async (...args) => {
    await step("publish");
    await publish(...args);
    await step("published");
  };
  const store = isPostgres
    ? new PostgresStore({ location: database, newClient: steppedClient, clock: systemClock, claimMs: 60_000 })
    : openOutboxStore(app);
  process.send("ready");
  await new OutboxRelay(app, store, { pollMs: 50, batch: 4 }).run(new AbortController().signal);
}

/** Each order: `{ id, key, isKept }`. What became of it is to be seen in the database alone. */
async function write() {
  const outbox = new Outbox(app);
  const begin = isPostgres ? beginPostgres : beginSqlite;
  process.send("ready");
  for (;;) {
    while (orders.length === 0) await sleep(systemClock, 2);
    const { id, key, isKept } = orders.shift();
    try {
      const transaction = await begin();
      await transaction.order(id, key);
      await outbox.enqueue(transaction.executor, { name: "ship", args: [id], options: { taskId: id } }, { key });
      await transaction.end(isKept ? "COMMIT" : "ROLLBACK");
    } catch {
      connected = undefined; // the database went away: nobody knows, and the next order comes
      await sleep(systemClock, 20);
    }
    process.send({ wrote: id });
  }
}

async function beginPostgres() {
  if (connected === undefined) {
    const client = await steppedClient();
    await client.connect();
    connected = client;
  }
  const client = connected;
  await client.query("BEGIN");
  return {
    executor: { dialect: "postgres", execute: (sql, params) => client.query(sql, params) },
    async order(id, key) {
      const { rows } = await client.query("UPDATE counters SET n = n + 1 WHERE key = $1 RETURNING n", [key]);
      await client.query("INSERT INTO orders (id, key, n) VALUES ($1, $2, $3)", [id, key, rows[0].n]);
    },
    end: (sql) => client.query(sql),
  };
}

async function beginSqlite() {
  const DatabaseSync = await loadSqlite();
  connected ??= new DatabaseSync(database.slice("sqlite://".length));
  const file = connected;
  file.exec("PRAGMA busy_timeout = 5000");
  await step("begin");
  file.exec("BEGIN IMMEDIATE");
  return {
    executor: {
      dialect: "sqlite",
      async execute(sql, params) {
        await step("outbox");
        file.prepare(sql).run(...params);
      },
    },
    async order(id, key) {
      await step("count");
      const { n } = file.prepare("UPDATE counters SET n = n + 1 WHERE key = ? RETURNING n").get(key);
      await step("order");
      file.prepare("INSERT INTO orders (id, key, n) VALUES (?, ?, ?)").run(id, key, n);
    },
    async end(sql) {
      await step("end");
      file.exec(sql);
      await step("ended");
    },
  };
}
