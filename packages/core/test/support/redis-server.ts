/**
 * A redis-server of a test's own: on a free port, ended with the test.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface RedisServerOptions {
  /** Append-only file with `appendfsync always`: nothing is lost by a kill. Default false. */
  readonly appendonly?: boolean;
  readonly password?: string;
  /** Also listens on a Unix socket (`socketPath`). */
  readonly unixSocket?: boolean;
  /** The port is a TLS port. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
  /** Default: a free one. */
  readonly port?: number;
  /** More arguments, e.g. `["--maxmemory", "2mb"]`. */
  readonly args?: readonly string[];
}

const START_MS = 10_000;
export const REDIS_BINARY =
  ["/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server"].find((path) => existsSync(path)) ??
  "redis-server";

export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly dir: string;
  readonly #options: RedisServerOptions;
  #child: ChildProcess | undefined;

  private constructor(port: number, dir: string, options: RedisServerOptions) {
    this.port = port;
    this.dir = dir;
    this.#options = options;
  }

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(options.port ?? (await freePort()), await mkdtemp(join(tmpdir(), "lovage-redis-")), options);
    try {
      await server.restart();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  get url(): string {
    const password = this.#options.password === undefined ? "" : `:${encodeURIComponent(this.#options.password)}@`;
    return `${this.#options.tls ? "rediss" : "redis"}://${password}127.0.0.1:${this.port}/0`;
  }

  get socketPath(): string {
    return join(this.dir, "redis.sock");
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("the redis-server is not running");
    return this.#child.pid;
  }

  /** Starts it again on its port, with its directory, after `kill` or `halt`. */
  async restart(): Promise<void> {
    const { appendonly, password, unixSocket, tls, args } = this.#options;
    const port = tls
      ? [
          "--port",
          "0",
          "--tls-port",
          String(this.port),
          "--tls-cert-file",
          tls.cert,
          "--tls-key-file",
          tls.key,
          "--tls-ca-cert-file",
          tls.ca,
          "--tls-auth-clients",
          "no",
        ]
      : ["--port", String(this.port)];
    const child = spawn(
      REDIS_BINARY,
      [
        ...port,
        ...["--bind", "127.0.0.1", "--dir", this.dir, "--save", "", "--loglevel", "warning"],
        ...(appendonly ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"]),
        ...(password === undefined ? [] : ["--requirepass", password]),
        ...(unixSocket ? ["--unixsocket", this.socketPath] : []),
        ...(args ?? []),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#child = child;
    let output = "";
    child.stdout.on("data", (text: Buffer) => (output += text.toString()));
    child.stderr.on("data", (text: Buffer) => (output += text.toString()));
    const ended = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}: ${output}`)));
    });
    ended.catch(() => undefined);
    await Promise.race([this.#answers(), ended]);
  }

  /** kill -9; `restart` brings it back. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** An orderly end; `restart` brings it back. */
  async halt(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Stands still: connections stay, nothing is answered. */
  pause(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  resume(): void {
    process.kill(this.pid, "SIGCONT");
  }

  async stop(): Promise<void> {
    await this.#end("SIGKILL");
    await rm(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    await exited;
  }

  /** Not with a client: a PING over a plain socket, or with TLS a port that accepts. */
  async #answers(): Promise<void> {
    const until = performance.now() + START_MS;
    while (performance.now() < until) {
      if (await this.#ping()) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`redis-server did not answer on port ${this.port}`);
  }

  async #ping(): Promise<boolean> {
    return await new Promise<boolean>((resolve) => {
      const socket = connect(this.port, "127.0.0.1");
      const answer = (ok: boolean): void => {
        socket.destroy();
        resolve(ok);
      };
      socket.once("error", () => answer(false));
      socket.once("connect", () => (this.#options.tls ? answer(true) : socket.write("PING\r\n")));
      socket.once("data", (text) => answer(!text.toString().includes("LOADING")));
    });
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (address && typeof address === "object" ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
