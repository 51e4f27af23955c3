/** Pauses of queues in one hash, which says who and why; a word on a channel makes workers read it. */
import { asList, asNumber, asPairs, asText } from "../../stores/redis/answers.ts";
import { pausesChannel, pausesKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import { BrokerRefusedError } from "../errors.ts";
import { inForce, type QueuePause, type QueuePauses, PAUSES_MAX } from "../queue-pauses.ts";
import type { RedisBroadcast } from "./broadcast.ts";
import type { RedisContext } from "./context.ts";
import { asking, askingAgain } from "./failures.ts";

const pauseScript = loadScript("pause");
const resumeScript = loadScript("resume");
const pausedScript = loadScript("paused");

export class RedisPauses implements QueuePauses {
  readonly #context: RedisContext;
  readonly #broadcast: RedisBroadcast;

  constructor(context: RedisContext, broadcast: RedisBroadcast) {
    this.#context = context;
    this.#broadcast = broadcast;
  }

  async pause(pauses: readonly QueuePause[]): Promise<void> {
    const records = pauses.flatMap(({ queue, until, ...record }) => [
      queue,
      until === undefined ? "" : Math.ceil(until),
      JSON.stringify(record),
    ]);
    const args = [pausesChannel(this.#context.shard), PAUSES_MAX, ...records];
    const done = await askingAgain(this.#context, async (connection) => asNumber(await connection.script(pauseScript, [this.#key], args)));
    if (done === 0) throw new BrokerRefusedError(this.#context.location, `more than ${PAUSES_MAX} queues cannot be paused`);
  }

  async resume(queues: readonly string[]): Promise<readonly string[]> {
    const args = [pausesChannel(this.#context.shard), ...queues];
    const told = await asking(this.#context, async (connection) => asList(await connection.script(resumeScript, [this.#key], args)));
    return queues.filter((_, at) => told[at] === 1);
  }

  async list(): Promise<readonly QueuePause[]> {
    return await askingAgain(this.#context, async (connection) => {
      const answer = asList(await connection.script(pausedScript, [this.#key], []));
      return inForce(asPairs(answer.slice(1)).map(readRecord), Number(asText(answer[0])));
    });
  }

  watch(signal: AbortSignal, changed: () => void): void {
    this.#broadcast.attend(pausesChannel(this.#context.shard), signal, changed);
  }

  get #key(): string {
    return pausesKey(this.#context.shard);
  }
}

/** Written by `pause` of some version of ours: what a later one adds is left alone. */
function readRecord([queue, text]: readonly [string, string]): QueuePause {
  const lineEnd = text.indexOf("\n");
  const { reason, by, at } = JSON.parse(text.slice(lineEnd + 1)) as QueuePause;
  return { queue, reason, by, at, until: lineEnd === 0 ? undefined : Number(text.slice(0, lineEnd)) };
}
