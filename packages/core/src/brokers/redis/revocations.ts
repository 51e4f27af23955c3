/** Revocations in one sorted set: no step depends on how many there are, but for the logarithm. */
import { asList, asNumber, asPairs, asText } from "../../stores/redis/answers.ts";
import { revokedKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { KeptMark, RevocationCaps, RevocationCursor, RevocationPage, RevocationPageOptions, Revocations } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { asking } from "./failures.ts";

const revokeScript = loadScript("revoke");
const revokedScript = loadScript("revoked");

/** Marks in one script: short enough to let others in between. */
const PORTION = 1000;

export class RedisRevocations implements Revocations {
  readonly #context: RedisContext;
  readonly #caps: RevocationCaps;

  constructor(context: RedisContext, caps: RevocationCaps) {
    this.#context = context;
    this.#caps = caps;
  }

  async add(marks: readonly string[]): Promise<number> {
    const { ttlMs, max } = this.#caps;
    return await asking(this.#context, async (connection) => {
      let crowdedOut = 0;
      for (let from = 0; from < marks.length; from += PORTION) {
        const portion = marks.slice(from, from + PORTION);
        crowdedOut += asNumber(await connection.script(revokeScript, [this.#key], [ttlMs, max, ...portion]));
      }
      return crowdedOut;
    });
  }

  async page({ limit, after, newest }: RevocationPageOptions): Promise<RevocationPage> {
    const { ttlMs } = this.#caps;
    return await asking(this.#context, async (connection) => {
      const answer = asList(await connection.script(revokedScript, [this.#key], [ttlMs, "page", limit, after ?? "", newest ?? ""]));
      const now = Number(asText(answer[0]));
      const pairs = asPairs(answer.slice(1));
      const marks = pairs.map(([mark, score]): KeptMark => ({ mark, leftMs: ttlMs - (now - Number(score)) / 1000 }));
      return { marks, cursor: (pairs.at(-1)?.[1] ?? after ?? "0") as RevocationCursor };
    });
  }

  async among(marks: readonly string[]): Promise<ReadonlySet<string>> {
    const kept = new Set<string>();
    await asking(this.#context, async (connection) => {
      for (let from = 0; from < marks.length; from += PORTION) {
        const portion = marks.slice(from, from + PORTION);
        const answer = asList(await connection.script(revokedScript, [this.#key], [this.#caps.ttlMs, "among", ...portion]));
        for (const [at, mark] of portion.entries()) if (answer[at] === 1) kept.add(mark);
      }
    });
    return kept;
  }

  get #key(): string {
    return revokedKey(this.#context.shard);
  }
}
