/** What a result backend tells a broker on the same server, so that results can be stored in the step that ends a loan. */
import { type RedisTarget, sameTarget } from "./target.ts";

export class SharedRedis {
  readonly #target: RedisTarget;
  readonly #keyOf: (taskId: string) => string;

  constructor(target: RedisTarget, keyOf: (taskId: string) => string) {
    this.#target = target;
    this.#keyOf = keyOf;
  }

  get db(): number {
    return this.#target.db;
  }

  /** Key and channel of a task's result. */
  keyOf(taskId: string): string {
    return this.#keyOf(taskId);
  }

  isOn(target: RedisTarget): boolean {
    return sameTarget(this.#target, target);
  }
}
