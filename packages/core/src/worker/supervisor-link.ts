/** How a worker process and its supervisor know of each other: reports over the IPC channel, and the channel's end. */
import type { Clock, Timer } from "../shared/clock.ts";
import type { WorkerState } from "./life.ts";

export interface WorkerReport {
  readonly kind: typeof REPORT;
  readonly state: WorkerState;
  readonly isConsuming: boolean;
  /** Bodies that run. */
  readonly running: number;
  /** By its app's settings: how long it lets tasks finish, and how long its event loop may be blocked before it is killed. */
  readonly limits: { readonly graceMs: number; readonly softMs: number; readonly blockedMs?: number | undefined };
}

export const REPORT = "lovage:report";
export const REPORT_EVERY_MS = 2000;

export function isReport(message: unknown): message is WorkerReport {
  return typeof message === "object" && message !== null && (message as { kind?: unknown }).kind === REPORT; // only our own children have the channel
}

export interface SupervisorLinkSetup {
  /** The process itself. Without a channel nothing is told. */
  readonly parent: Pick<NodeJS.Process, "send" | "once" | "connected">;
  readonly clock: Clock;
  report(): Omit<WorkerReport, "kind">;
  /** The supervisor is gone. */
  orphaned(): void;
}

/** In a worker process. Reports at once and every two seconds. */
export class SupervisorLink {
  readonly #setup: SupervisorLinkSetup;
  #timer: Timer | undefined;
  #sent: Promise<unknown> = Promise.resolve();

  constructor(setup: SupervisorLinkSetup) {
    this.#setup = setup;
    const { parent, orphaned } = setup;
    if (parent.send === undefined) return;
    if (parent.connected) {
      parent.once("disconnect", orphaned);
      this.tell();
    } else orphaned(); // it went while this process started
  }

  /** Something has changed. */
  tell(): void {
    const { parent, clock, report } = this.#setup;
    this.#timer?.cancel();
    if (parent.send === undefined || !parent.connected) return;
    const message: WorkerReport = { kind: REPORT, ...report() };
    this.#sent = new Promise((resolve) => parent.send?.(message, undefined, undefined, resolve));
    this.#timer = clock.timer(REPORT_EVERY_MS, () => this.tell(), { background: true });
  }

  /** Resolves when the last report is on its way. */
  async end(): Promise<void> {
    this.#timer?.cancel();
    if (this.#setup.parent.connected) await this.#sent;
  }
}
