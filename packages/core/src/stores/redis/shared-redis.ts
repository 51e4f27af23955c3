/** What a result backend tells a broker on the same server, so that results can be stored in the step that ends a loan. */
import { resultKey } from "./keys.ts";
import { type RedisTarget, sameTarget } from "./target.ts";

export class SharedRedis {
  readonly #target: RedisTarget;
  readonly #prefix: string;
  /** Whoever asks, asks before each batch. */
  #asked: { readonly target: RedisTarget; readonly isOn: boolean } | undefined;

  /** @param prefix of the backend's keys */
  constructor(target: RedisTarget, prefix: string) {
    this.#target = target;
    this.#prefix = prefix;
  }

  get db(): number {
    return this.#target.db;
  }

  /** Key and channel of a task's result. */
  keyOf(taskId: string): string {
    return resultKey(this.#prefix, taskId);
  }

  get prefix(): string {
    return this.#prefix;
  }

  isOn(target: RedisTarget): boolean {
    if (this.#asked?.target !== target) this.#asked = { target, isOn: sameTarget(this.#target, target) };
    return this.#asked.isOn;
  }
}
