/**
 * Messages that were lost with a worker before, in this capsule. They take no slot while they wait for their turn (`suspect-turn.ts`), and
 * the broker hears of the beginning of each before it begins: those that merely wait beside one that kills its worker do not count as lost
 * again (`brokers/losses.ts`).
 */
import type { Checkpoints } from "../brokers/broker.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { Fifo } from "./fifo.ts";
import type { Request } from "./request.ts";
import type { SuspectTurn } from "./suspect-turn.ts";

export interface SuspectsDeps {
  readonly suspectTurn: SuspectTurn;
  readonly checkpoints: Checkpoints | undefined;
  readonly logger: Logger;
  /** Whether it may start now. */
  hasRoomFor(request: Request): boolean;
  start(request: Request): void;
  putBack(requests: readonly Request[]): void;
}

export class Suspects {
  readonly #deps: SuspectsDeps;
  readonly #waiting = new Fifo<Request>();

  constructor(deps: SuspectsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#waiting.size;
  }

  add(request: Request): void {
    this.#waiting.push(request);
  }

  /** Takes out all that match, first to last. */
  takeWhere(matches: (request: Request) => boolean): Request[] {
    return this.#waiting.takeWhere(matches);
  }

  /** The next begins, if it is its turn. */
  pump(): void {
    const request = this.#waiting.peek();
    if (request === undefined || !this.#deps.suspectTurn.isFree || !this.#deps.hasRoomFor(request)) return;
    this.#deps.suspectTurn.take(request);
    void this.#begin(request);
  }

  /** While the broker hears of it, it keeps its place, where it may be put back or revoked. */
  async #begin(request: Request): Promise<void> {
    const isItsOwn = await this.#say(request);
    const isHere = this.#waiting.peek() === request;
    if (isHere && isItsOwn && this.#deps.hasRoomFor(request)) {
      this.#waiting.shift();
      return this.#deps.start(request);
    }
    if (isHere && !isItsOwn) {
      this.#waiting.shift();
      this.#deps.putBack([request]);
    }
    this.#deps.suspectTurn.free(request);
  }

  /** False: it is another's by now, or nobody knows. */
  async #say({ delivery, received: { task, id } }: Request): Promise<boolean> {
    try {
      return (await this.#deps.checkpoints?.begin(delivery)) !== "lost";
    } catch (error) {
      this.#deps.logger.warn(
        { err: error, task, taskId: id },
        `that ${task}[${id}] begins could not be said, so it is given back: ${errorText(error)}`,
      );
      return false;
    }
  }
}
