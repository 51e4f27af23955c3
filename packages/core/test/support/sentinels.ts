/** A Redis with a replica and sentinels that watch them, all of a test's own. */
import { type ChildProcess, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { eventually } from "./eventually.ts";
import { freePort, REDIS_BINARY, RedisServer } from "./redis-server.ts";

export interface SentinelOptions {
  readonly sentinels?: number;
  readonly replicas?: number;
  /** Of the data servers. */
  readonly password?: string;
  readonly sentinelPassword?: string;
  /** More arguments of each data server. */
  readonly args?: readonly string[];
}

export const MASTER_NAME = "shop";
const DOWN_AFTER_MS = 1000;
const FAST_REPLICATION = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--repl-backlog-size", "16mb"];

export class SentinelGroup implements AsyncDisposable {
  readonly #options: SentinelOptions;
  readonly #servers = new Map<number, RedisServer>();
  readonly #sentinels: { readonly port: number; readonly child: ChildProcess }[] = [];

  private constructor(options: SentinelOptions) {
    this.#options = options;
  }

  static async start(options: SentinelOptions = {}): Promise<SentinelGroup> {
    const group = new SentinelGroup(options);
    try {
      const master = await group.#startServer(undefined, undefined);
      for (let i = 0; i < (options.replicas ?? 1); i += 1) await group.#startServer(undefined, master.port);
      const count = options.sentinels ?? 1;
      for (let i = 0; i < count; i += 1) await group.#startSentinel(master, Math.floor(count / 2) + 1);
      await group.settled();
    } catch (error) {
      await group[Symbol.asyncDispose]();
      throw error;
    }
    return group;
  }

  /** As Celery writes it, with the credentials of the data servers. */
  get url(): string {
    const { password } = this.#options;
    const user = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
    return this.#sentinels.map(({ port }) => `sentinel://${user}127.0.0.1:${port}/0`).join(";");
  }

  get transportOptions(): Record<string, unknown> {
    const { sentinelPassword } = this.#options;
    return {
      master_name: MASTER_NAME,
      ...(sentinelPassword === undefined ? {} : { sentinel_kwargs: { password: sentinelPassword } }),
    };
  }

  /** Port of the master, as the sentinels see it. */
  async masterPort(): Promise<number> {
    return Number((await this.master()).get("port"));
  }

  async master(): Promise<Map<string, string>> {
    const fields = (await this.#ask("MASTER", MASTER_NAME)) as string[];
    return new Map(Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i] as string, fields[2 * i + 1] as string]));
  }

  server(port: number): RedisServer {
    const server = this.#servers.get(port);
    if (!server) throw new Error(`no server on port ${port}`);
    return server;
  }

  /** Resolves when every server but the master replicates it, and the sentinels know of all. */
  async settled(): Promise<void> {
    await eventually(
      "the group is whole",
      async () => {
        const master = await this.master();
        if (master.get("flags") !== "master" || Number(master.get("num-other-sentinels")) !== this.#sentinels.length - 1) return false;
        const replicas = ((await this.#ask("REPLICAS", MASTER_NAME)) as string[][]).map((fields) => fields.join(" "));
        const good = replicas.filter((text) => text.includes("master-link-status ok") && text.includes("flags slave "));
        if (good.length < this.#servers.size - 1) return false;
        return (await this.#info(Number(master.get("port")))).includes(`connected_slaves:${this.#servers.size - 1}`);
      },
      60_000,
    );
  }

  /** An orderly failover. Resolves with the new master's port once the sentinels tell it. */
  async failover(): Promise<number> {
    const before = await this.masterPort();
    await eventually(
      "the failover begins",
      async () => {
        const told = await this.#ask("FAILOVER", MASTER_NAME).catch((error: unknown) => String(error));
        return told === "OK";
      },
      60_000,
    );
    return await this.promoted(before);
  }

  /** Resolves with the port of the master that took the place of that one. */
  async promoted(before: number): Promise<number> {
    return await eventually(
      "another master",
      async () => {
        const port = await this.masterPort();
        return port !== before && (await this.#info(port)).includes("role:master") ? port : undefined;
      },
      60_000,
    );
  }

  /** Brings a killed server back, as a replica of the present master. */
  async revive(port: number): Promise<void> {
    await this.#servers.get(port)?.stop();
    await this.#startServer(port, await this.masterPort());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#sentinels.map(async ({ child }) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      child.kill("SIGKILL");
      await exited;
    });
    await Promise.all(ended);
    await Promise.all([...this.#servers.values()].map((server) => server.stop()));
  }

  async #startServer(port: number | undefined, masterPort: number | undefined): Promise<RedisServer> {
    const { password, args = [] } = this.#options;
    const server = await RedisServer.start({
      ...(port === undefined ? {} : { port }),
      ...(password === undefined ? {} : { password }),
      args: [
        ...FAST_REPLICATION,
        ...args,
        ...(password === undefined ? [] : ["--masterauth", password]),
        ...(masterPort === undefined ? [] : ["--replicaof", "127.0.0.1", String(masterPort)]),
      ],
    });
    this.#servers.set(server.port, server);
    return server;
  }

  async #startSentinel(master: RedisServer, quorum: number): Promise<void> {
    const port = await freePort();
    const file = join(master.dir, `sentinel-${port}.conf`);
    const { password, sentinelPassword } = this.#options;
    const lines = [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${master.dir}`,
      ...(sentinelPassword === undefined ? [] : [`requirepass ${sentinelPassword}`]),
      `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${master.port} ${quorum}`,
      `sentinel down-after-milliseconds ${MASTER_NAME} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${MASTER_NAME} 3000`,
      ...(password === undefined ? [] : [`sentinel auth-pass ${MASTER_NAME} ${JSON.stringify(password)}`]),
    ];
    await writeFile(file, `${lines.join("\n")}\n`);
    const child = spawn(REDIS_BINARY, [file, "--sentinel"], { stdio: "ignore" });
    this.#sentinels.push({ port, child });
    await eventually("the sentinel answers", async () => (await this.#ask("MASTERS").catch(() => undefined)) !== undefined);
  }

  async #ask(...args: readonly string[]): Promise<unknown> {
    const { port } = this.#sentinels.at(-1) as { port: number };
    return await asked(port, this.#options.sentinelPassword, async (hand) => await hand.call("SENTINEL", ...args));
  }

  async #info(port: number): Promise<string> {
    return await asked(port, this.#options.password, async (hand) => await hand.info("replication")).catch(() => "");
  }
}

async function asked<T>(port: number, password: string | undefined, ask: (hand: Redis) => Promise<T>): Promise<T> {
  const hand = new Redis({
    port,
    host: "127.0.0.1",
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    retryStrategy: () => null,
    enableReadyCheck: false,
    disableClientInfo: true,
    commandTimeout: 5000,
  });
  hand.on("error", () => undefined);
  try {
    await hand.connect();
    return await ask(hand);
  } finally {
    hand.disconnect();
  }
}
