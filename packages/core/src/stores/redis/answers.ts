/** Reads the untyped answers of Redis. What does not have the expected shape is a bug or a hostile server: it throws. */
import type { Answer } from "./connection.ts";
import { RedisAnswerError } from "./errors.ts";

export function asNumber(answer: Answer | undefined): number {
  if (typeof answer === "number") return answer;
  if (Buffer.isBuffer(answer)) return Number(answer.toString());
  throw unexpected("a number", answer);
}

export function asList(answer: Answer | undefined): readonly Answer[] {
  if (Array.isArray(answer)) return answer;
  throw unexpected("a list", answer);
}

export function asText(answer: Answer | undefined): string {
  if (Buffer.isBuffer(answer)) return answer.toString();
  if (typeof answer === "number") return String(answer);
  throw unexpected("a text", answer);
}

export function asTexts(answer: Answer | undefined): string[] {
  return asList(answer).map(asText);
}

/** Names and values that alternate, as HGETALL and ZRANGE WITHSCORES answer. */
export function asPairs(answer: Answer | undefined): [string, string][] {
  const texts = asTexts(answer);
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < texts.length; i += 2) pairs.push([texts[i] as string, texts[i + 1] as string]);
  return pairs;
}

function unexpected(what: string, answer: Answer | undefined): RedisAnswerError {
  return new RedisAnswerError(`ERR expected ${what}, got ${answer === null ? "nothing" : typeof answer}`);
}
