/**
 * Tells systemd how this service is (`Type=notify`; sd_notify(3)): that it is ready, stops, lives, and what it does.
 * Node opens no Unix datagram sockets, and what npm has for it is compiled on installation; so each word is brought by
 * `systemd-notify`, which stands wherever systemd does. One at a time; what comes meanwhile goes together with the next.
 */
import { spawn } from "node:child_process";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";

/** Variables of the protocol, such as `READY` or `STATUS`. */
export type SystemdWords = Readonly<Record<string, string>>;

export interface SystemdSetup {
  /** Of this process. What belongs to the protocol is taken out, so that no child takes it for its own. */
  readonly env: Record<string, string | undefined>;
  readonly pid: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PROGRAM = "systemd-notify";
/** The end of this process does not wait longer for its last words. */
const LAST_WORDS_MS = 1000;

export class Systemd {
  /** Word is expected that often; undefined: no watchdog. */
  readonly watchdogMs: number | undefined;
  readonly #socket: string;
  readonly #env: Record<string, string | undefined>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #words: SystemdWords = {};
  #sending: Promise<void> | undefined;
  #hasFailed = false;

  private constructor(socket: string, watchdogMs: number | undefined, { env, clock, logger }: SystemdSetup) {
    this.#socket = socket;
    this.watchdogMs = watchdogMs;
    this.#env = env;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** undefined: this process was not started by systemd, or not as `Type=notify`. */
  static from(setup: SystemdSetup): Systemd | undefined {
    const { env, pid } = setup;
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: watched } = env;
    delete env["NOTIFY_SOCKET"];
    delete env["WATCHDOG_USEC"];
    delete env["WATCHDOG_PID"];
    if (socket === undefined || socket === "") return undefined;
    const isForUs = watched === undefined || watched === String(pid);
    const watchdogMs = isForUs && Number(usec) > 0 ? Number(usec) / 1000 : undefined;
    return new Systemd(socket, watchdogMs, setup);
  }

  tell(words: SystemdWords): void {
    this.#words = { ...this.#words, ...words };
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined));
  }

  /** Resolves when all is told, or that has taken too long. */
  async end(): Promise<void> {
    const enough = new Promise<void>((resolve) => void this.#clock.timer(LAST_WORDS_MS, resolve, { background: true }));
    await Promise.race([this.#sending, enough]);
  }

  async #sendAll(): Promise<void> {
    while (Object.keys(this.#words).length > 0) {
      const words = this.#words;
      this.#words = {};
      const failure = await this.#send(words);
      if (failure === undefined) this.#hasFailed = false;
      else if (!this.#hasFailed) {
        this.#hasFailed = true;
        this.#logger.error(
          { err: failure },
          `systemd waits for word of this service (Type=notify) and cannot be told: ${failure.message}. ${PROGRAM} has to be installed, and NotifyAccess=all to stand in the unit`,
        );
      }
    }
  }

  #send(words: SystemdWords): Promise<Error | undefined> {
    return new Promise((resolve) => {
      const assignments = Object.entries(words).map(([name, value]) => `${name}=${value}`);
      const child = spawn(PROGRAM, assignments, {
        env: { PATH: this.#env["PATH"], NOTIFY_SOCKET: this.#socket },
        stdio: ["ignore", "ignore", "pipe"],
      });
      let said = "";
      child.stderr.on("data", (part: Buffer) => (said += part.toString()));
      child.once("error", resolve);
      child.once("close", (code, signal) => {
        const isDone = code === 0;
        resolve(isDone ? undefined : new Error(said.trim() || `${PROGRAM} ended with ${signal ?? code}`));
      });
    });
  }
}
