/**
 * Tells who waits that the database has changed: at once within the process, and by a doorbell across processes.
 * The doorbell is a file of one byte beside the database: whoever commits something that others may wait for writes it,
 * and the others watch it (inotify and its like). A ring is confirmed by SQLite's `data_version`, which only commits of
 * other connections change. A slow look now and then covers a ring that never came.
 */
import { closeSync, constants, openSync, watch, writeSync, type FSWatcher } from "node:fs";
import type { Clock, Timer } from "../../shared/clock.ts";

/** What may have come: messages in a queue, results, fanout messages. */
export type Matter = "ready" | "results" | "broadcasts";

export interface BellOptions {
  readonly path: string;
  readonly clock: Clock;
  /** SQLite's `data_version` as this connection sees it now. */
  readonly dataVersion: () => number;
}

/** Between two looks when the watch works, and when it cannot be had (a look takes some microseconds). */
const LOOK_MS = 500;
const LOOK_WITHOUT_WATCH_MS = 15;

const MATTERS = ["ready", "results", "broadcasts"] as const;
/** Differs from every `data_version`. */
const UNSEEN = -1;

const BYTE = new Uint8Array(1);

export class Bell {
  readonly #options: BellOptions;
  readonly #file: number;
  readonly #listeners: Readonly<Record<Matter, Set<() => void>>> = {
    ready: new Set(),
    results: new Set(),
    broadcasts: new Set(),
  };
  #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;
  #seen: number;

  constructor(options: BellOptions) {
    this.#options = options;
    this.#file = openSync(options.path, constants.O_RDWR | constants.O_CREAT, 0o600);
    this.#seen = options.dataVersion();
  }

  /** To be called after a commit of ours. */
  ring(matter: Matter): void {
    this.#call(matter);
    try {
      writeSync(this.#file, BYTE, 0, 1, 0);
    } catch {
      // A full disk: the others find out at their next look.
    }
  }

  /** Calls `listener` whenever the matter may have changed, until disposed. When it throws it is called again at the next look. */
  listen(matter: Matter, listener: () => void): Disposable {
    this.#listeners[matter].add(listener);
    this.#attend();
    return {
      [Symbol.dispose]: () => {
        this.#listeners[matter].delete(listener);
        if (!this.#isHeard()) this.#leave();
      },
    };
  }

  close(): void {
    this.#leave();
    closeSync(this.#file);
  }

  #attend(): void {
    if (this.#timer !== undefined) return;
    try {
      this.#watcher = watch(this.#options.path, { persistent: false }, () => this.#look());
      this.#watcher.on("error", () => this.#unwatch());
    } catch {
      this.#unwatch(); // e.g. no inotify watches left: look more often
    }
    this.#look();
    this.#lookLater();
  }

  #leave(): void {
    this.#unwatch();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #lookLater(): void {
    const delayMs = this.#watcher === undefined ? LOOK_WITHOUT_WATCH_MS : LOOK_MS;
    this.#timer = this.#options.clock.timer(delayMs, () => {
      this.#look();
      if (this.#timer !== undefined) this.#lookLater();
    });
  }

  #look(): void {
    if (this.#hasChanged()) for (const matter of MATTERS) this.#call(matter);
  }

  #call(matter: Matter): void {
    for (const listener of this.#listeners[matter]) {
      try {
        listener();
      } catch {
        this.#seen = UNSEEN; // e.g. the file is held by a process that recovers it
      }
    }
  }

  #hasChanged(): boolean {
    let version: number;
    try {
      version = this.#options.dataVersion();
    } catch {
      return true; // held by a process that recovers or closes it: let those who wait try
    }
    const changed = version !== this.#seen;
    this.#seen = version;
    return changed;
  }

  #isHeard(): boolean {
    return MATTERS.some((matter) => this.#listeners[matter].size > 0);
  }
}
