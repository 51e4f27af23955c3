/**
 * A PostgreSQL server of a test's own: on a free port, in a folder of its own, ended with the test. PostgreSQL refuses to run as root, so
 * root runs it as the user `postgres` or `nobody`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./redis-server.ts";

const START_MS = 60_000;

/** Debian keeps the programs of each version apart, and off the path. */
function binaries(): string {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((version) => join(debian, version, "bin")), "/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"];
  const found = folders.find((folder) => existsSync(join(folder, "initdb")));
  if (found === undefined) throw new Error("these tests need PostgreSQL: apt-get install -y postgresql");
  return found;
}

interface Person {
  readonly uid?: number;
  readonly gid?: number;
}

function unprivileged(): Person {
  if (process.getuid?.() !== 0) return {};
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = lines.find((line) => line.startsWith(`${name}:`))?.split(":") ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error("PostgreSQL does not run as root, and there is neither a user postgres nor nobody");
}

export class PostgresServer implements AsyncDisposable {
  readonly port: number;
  readonly dir: string;
  readonly #person: Person;
  #child: ChildProcess | undefined;

  private constructor(port: number, dir: string, person: Person) {
    this.port = port;
    this.dir = dir;
    this.#person = person;
  }

  static async start(): Promise<PostgresServer> {
    const person = unprivileged();
    const dir = await mkdtemp(join(tmpdir(), "lovage-postgres-"));
    if (person.uid !== undefined) await chown(dir, person.uid, person.gid as number);
    const server = new PostgresServer(await freePort(), dir, person);
    try {
      const made = spawn(
        join(binaries(), "initdb"),
        ["-D", join(dir, "data"), "-U", "lovage", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"],
        {
          ...person,
          cwd: dir,
          stdio: ["ignore", "ignore", "pipe"],
        },
      );
      let said = "";
      made.stderr.on("data", (text: Buffer) => (said += text.toString()));
      const [code] = (await once(made, "close")) as [number | null];
      if (code !== 0) throw new Error(`initdb ended with ${code}: ${said}`);
      await server.restart();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  get url(): string {
    return `postgres://lovage@127.0.0.1:${this.port}/postgres`;
  }

  /** Starts it, also after `kill`: then it recovers. */
  async restart(): Promise<void> {
    const until = performance.now() + START_MS;
    let said = "";
    while (performance.now() < until) {
      const child = spawn(
        join(binaries(), "postgres"),
        [
          ...["-D", join(this.dir, "data"), "-p", String(this.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
          // Processes are killed here, not machines: what is written to the kernel is kept.
          ...["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=16MB", "-c", "max_connections=50"],
        ],
        { ...this.#person, cwd: this.dir, stdio: ["ignore", "ignore", "pipe"] },
      );
      this.#child = child;
      let isUp = false;
      const ended = new Promise<boolean>((resolve) => child.once("exit", () => resolve(false)));
      const up = new Promise<boolean>((resolve) => {
        child.stderr.on("data", (text: Buffer) => {
          said = (said + text.toString()).slice(-4000);
          if (said.includes("database system is ready to accept connections")) resolve((isUp = true));
        });
      });
      if (await Promise.race([up, ended])) return;
      if (isUp) return;
      await new Promise((resolve) => setTimeout(resolve, 50)); // what a killed server left behind is still ending
    }
    throw new Error(`PostgreSQL did not start: ${said}`);
  }

  /** kill -9 of the server process; its children find out and end. `restart` brings it back. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#end("SIGQUIT"); // at once, and with all its children
    await rm(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
}
