/** Live Python Celery at the other end: a producer that takes commands, and ordinary Celery workers. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import * as zlib from "node:zlib";

/** Undefined where there is no Python with Celery: the tests are then skipped by name, except in CI, where that fails. */
export const python: string | undefined = process.env.LOVAGE_TEST_PYTHON;

/** Debian's own Python has Celery and not every module that a test needs: such tests are skipped by name. */
export function pythonHas(module: string): boolean {
  return pythonHolds(`import ${module}`);
}

/** Celery 5.2, Debian's, knows neither bytes in json nor revoking by stamps: those tests are skipped by name. */
export const isCeleryNew: boolean = pythonHolds("import celery; assert celery.VERSION >= (5, 3)");

/** Whether their kombu has the compression: brotli and zstd want a module of their own. */
export function pythonCompresses(name: string): boolean {
  return pythonHolds(`from kombu import compression; compression.get_encoder("${name}")`);
}

function pythonHolds(statement: string): boolean {
  return python !== undefined && spawnSync(python, ["-c", statement], { stdio: "ignore" }).status === 0;
}

if (python === undefined && process.env.CI === "true") throw new Error("CI needs a Python with Celery: LOVAGE_TEST_PYTHON is not set");

const folder = fileURLToPath(new URL("../interop/python/", import.meta.url));

export interface PeerOptions {
  readonly broker: string;
  readonly backend: string;
  /** Further PEER_* variables of peer_app.py, without the prefix. */
  readonly env?: Readonly<Record<string, string>>;
}

function environment(options: PeerOptions): NodeJS.ProcessEnv {
  const own = Object.entries(options.env ?? {}).map(([name, value]) => [`PEER_${name}`, value] as const);
  return {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    C_FORCE_ROOT: "1", // Celery refuses to run as root otherwise; CI is root
    PYTHONDONTWRITEBYTECODE: "1",
    PEER_BROKER: options.broker,
    PEER_BACKEND: options.backend,
    ...Object.fromEntries(own),
  };
}

export interface PythonAnswer {
  readonly state: string;
  readonly value?: unknown;
  readonly error?: { readonly type: string; readonly module: string; readonly args: readonly unknown[]; readonly builtin: boolean };
  readonly traceback?: string | null;
}

/** A Python process that sends tasks and reads results. One command at a time. */
export class PythonPeer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: { resolve(answer: unknown): void; reject(error: Error): void }[] = [];

  constructor(options: PeerOptions) {
    this.#child = spawn(python as string, ["-u", "peer.py"], {
      cwd: folder,
      env: environment(options),
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines.on("line", (line) => {
      const answer = JSON.parse(line) as { ok?: unknown; failed?: string };
      const waiter = this.#waiting.shift();
      if (answer.failed === undefined) waiter?.resolve(answer.ok);
      else waiter?.reject(new Error(answer.failed));
    });
    this.#child.once("exit", (code) => {
      for (const waiter of this.#waiting.splice(0)) waiter.reject(new Error(`the Python peer exited with ${code}`));
    });
  }

  #ask(command: object): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    });
  }

  /** Options are Celery's (`countdown`, `queue`, ...), and `eta_in` in seconds. Resolves with the task's id. */
  async send(
    task: string,
    args: unknown[] = [],
    options: Record<string, unknown> = {},
    kwargs: Record<string, unknown> = {},
  ): Promise<string> {
    return (await this.#ask({ do: "send", task, args, kwargs, options })) as string;
  }

  /** Composes and sends a workflow. Resolves with the id of the task that ends it. */
  async canvas(tree: object): Promise<string> {
    return (await this.#ask({ do: "canvas", tree })) as string;
  }

  /** As `canvas`. Resolves with the result tuple of the whole. */
  async canvasTuple(tree: object): Promise<unknown> {
    return await this.#ask({ do: "canvas_tuple", tree });
  }

  /** A workflow as `canvas` takes it, stamped: the signature as data. */
  async stamp(tree: object, stamps: readonly object[]): Promise<unknown> {
    return await this.#ask({ do: "stamp", tree, stamps });
  }

  async get(id: string, timeout = 30): Promise<PythonAnswer> {
    return (await this.#ask({ do: "get", id, timeout })) as PythonAnswer;
  }

  async state(id: string): Promise<{ readonly state: string; readonly info: string }> {
    return (await this.#ask({ do: "state", id })) as { state: string; info: string };
  }

  /** `app.control.<name>(*args, **kwargs)`. */
  async control(name: string, args: unknown[] = [], kwargs: Record<string, unknown> = {}): Promise<unknown> {
    return await this.#ask({ do: "control", name, args, kwargs });
  }

  /** `app.control.inspect().<name>()`. */
  async inspect(name: string): Promise<unknown> {
    return await this.#ask({ do: "inspect", name });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lines.close();
    await end(this.#child, "SIGTERM");
  }
}

/** A `celery worker` process. */
export class PythonWorker implements AsyncDisposable {
  readonly #child: ChildProcess;
  #output = "";
  readonly ready: Promise<void>;

  constructor(options: PeerOptions & { readonly arguments?: readonly string[] }) {
    const args = [
      "-m",
      "celery",
      "-A",
      "peer_app",
      "worker",
      "--loglevel=INFO",
      "--pool=solo",
      "--hostname=python@%h",
      ...(options.arguments ?? []),
    ];
    this.#child = spawn(python as string, args, { cwd: folder, env: environment(options), stdio: ["ignore", "pipe", "pipe"] });
    this.ready = new Promise((resolve, reject) => {
      const listen = (chunk: Buffer): void => {
        this.#output += chunk.toString();
        if (this.#output.includes(" ready.")) resolve();
      };
      this.#child.stdout?.on("data", listen);
      this.#child.stderr?.on("data", listen);
      this.#child.once("exit", (code) => reject(new Error(`the Python worker exited with ${code}:\n${this.#output}`)));
    });
    this.ready.catch(() => {}); // a test that never waits for it must not fail by it
  }

  /** Everything it has printed so far. */
  get output(): string {
    return this.#output;
  }

  /** Resolves with its exit code when it has ended by itself. */
  async exited(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    await end(this.#child, "SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#child, "SIGTERM");
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill(signal);
  const last = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await gone;
  clearTimeout(last);
}

/** Compressions that both sides have: zstd needs Node 22.15. */
export const COMPRESSIONS: readonly string[] = ["zlib", "gzip", "brotli", ...("zstdCompressSync" in zlib ? ["zstd"] : [])];
