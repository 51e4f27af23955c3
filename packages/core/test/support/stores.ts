/** The stores that worker tests run on: each is made for one test and goes with it. */
import { RedisServer } from "./redis-server.ts";
import { temporaryDatabase } from "./sqlite.ts";

export interface TemporaryStore extends AsyncDisposable {
  /** For broker and results alike. */
  readonly url: string;
}

export interface StoreKind {
  readonly kind: string;
  open(): Promise<TemporaryStore>;
}

export function temporaryStores(): StoreKind[] {
  return [
    { kind: "sqlite", open: openSqlite },
    { kind: "redis", open: () => RedisServer.start() },
  ];
}

async function openSqlite(): Promise<TemporaryStore> {
  const database = await temporaryDatabase();
  return { url: `sqlite://${database.path}`, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() };
}
