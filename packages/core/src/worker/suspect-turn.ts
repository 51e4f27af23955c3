/**
 * Of messages that were lost with a worker before, one at a time runs in this process, whichever capsule has it: so the one that kills
 * workers is told from those that only stood beside it.
 */
import type { Request } from "./request.ts";

export class SuspectTurn {
  readonly #onFree: (() => void)[] = [];
  #holder: Request | undefined;

  get isFree(): boolean {
    return this.#holder === undefined;
  }

  take(request: Request): void {
    this.#holder = request;
  }

  /** Nothing happens when it is another's turn. */
  free(request: Request): void {
    if (this.#holder !== request) return;
    this.#holder = undefined;
    for (const start of this.#onFree) start();
  }

  /** `start` is called whenever the turn is free again. */
  onFree(start: () => void): void {
    this.#onFree.push(start);
  }
}
