/** What a result backend tells a broker on the same server, so that results can be stored in the step that ends a loan. */
import { type RedisAddress, sameServer } from "./address.ts";

export class SharedRedis {
  readonly #address: RedisAddress;
  readonly #keyOf: (taskId: string) => string;

  constructor(address: RedisAddress, keyOf: (taskId: string) => string) {
    this.#address = address;
    this.#keyOf = keyOf;
  }

  get db(): number {
    return this.#address.db;
  }

  /** Key and channel of a task's result. */
  keyOf(taskId: string): string {
    return this.#keyOf(taskId);
  }

  isOn(address: RedisAddress): boolean {
    return sameServer(this.#address, address);
  }
}
