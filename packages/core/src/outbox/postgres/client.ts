/**
 * One connection to PostgreSQL, made when it is needed and made anew after it broke. By the package `pg`, an optional peer of this one:
 * PostgreSQL's protocol with its logins and TLS is not written a second time, and who does not use this outbox need not install it.
 */
import { OutboxDriverMissingError, OutboxSchemaError, OutboxUnavailableError } from "../errors.ts";

/** The part of `pg`'s client that is used. */
export interface PgClient {
  connect(): Promise<unknown>;
  query(text: string, values?: readonly unknown[]): Promise<PgResult>;
  end(): Promise<void>;
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
  on(event: "notification", listener: () => void): unknown;
}

export interface PgResult {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly rowCount: number | null;
}

/** Makes a client that is not connected yet. */
export type NewPgClient = () => Promise<PgClient>;

const CONNECT_MS = 5000;
/** A statement that has not been answered by then never will be: the connection is gone. */
const ANSWER_MS = 30_000;

/** @throws OutboxDriverMissingError */
export function pgClients(url: string): NewPgClient {
  return async () => {
    const name = "pg";
    let driver: unknown;
    try {
      driver = await import(name);
    } catch (error) {
      throw new OutboxDriverMissingError(name, error);
    }
    const { Client } = (driver as { default: { Client: new (options: object) => PgClient } }).default; // as pg has exported it since it began
    return new Client({
      connectionString: url,
      application_name: "lovage outbox",
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: ANSWER_MS,
    });
  };
}

export interface PgLinkOptions {
  readonly location: string;
  readonly newClient: NewPgClient;
  /** Statements for each new connection. */
  readonly setUp?: string;
  notified?(): void;
  broken?(): void;
}

export class PgLink {
  readonly #options: PgLinkOptions;
  #connecting: Promise<PgClient> | undefined;

  constructor(options: PgLinkOptions) {
    this.#options = options;
  }

  /** @throws OutboxUnavailableError, OutboxSchemaError; after the first the connection is dropped */
  async query(text: string, values?: readonly unknown[]): Promise<PgResult> {
    try {
      const client = await (this.#connecting ??= this.#connect());
      return await (values === undefined ? client.query(text) : client.query(text, values));
    } catch (error) {
      throw this.failed(error);
    }
  }

  /** What the error means; the connection is dropped, for nothing is known of its transaction. */
  failed(error: unknown): Error {
    void this.close();
    if (error instanceof OutboxDriverMissingError) return error;
    const { location } = this.#options;
    const state = (error as { code?: unknown } | undefined)?.code;
    if (state === "42P01" || state === "42883" || state === "3F000")
      return new OutboxSchemaError(location, "is not there: `lovage outbox migrate` makes its tables", { cause: error });
    return new OutboxUnavailableError(location, error);
  }

  async close(): Promise<void> {
    const connecting = this.#connecting;
    this.#connecting = undefined;
    const client = await connecting?.catch(() => undefined);
    await client?.end().catch(() => undefined);
  }

  async #connect(): Promise<PgClient> {
    const { newClient, setUp, notified, broken } = this.#options;
    const client = await newClient();
    const forget = (): void => {
      if (this.#client === client) this.#connecting = undefined;
      broken?.();
    };
    client.on("error", forget); // without a listener it would end the process
    client.on("end", forget);
    if (notified) client.on("notification", notified);
    this.#client = client;
    try {
      await client.connect();
      if (setUp !== undefined) await client.query(setUp);
    } catch (error) {
      void client.end().catch(() => undefined);
      throw error;
    }
    return client;
  }

  #client: PgClient | undefined;
}
