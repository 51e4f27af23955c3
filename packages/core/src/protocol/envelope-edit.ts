/**
 * Changes to a stored envelope as text: nothing else of it changes, not long integers, not `1.0`, not the order of keys.
 */
import { ProtocolError } from "./errors.ts";

/** As kombu marks a message that it restores (celery-protocol 3.6). @throws ProtocolError when it is not an envelope. */
export function markRedelivered(envelope: string): string {
  const marked = setMember(envelope, ["headers"], "redelivered", "true");
  return setMember(marked, ["properties", "delivery_info"], "redelivered", "true");
}

/** Sets `key` of the object at `path` to a JSON text. */
export function setMember(text: string, path: readonly string[], key: string, json: string): string {
  let at = skipSpace(text, 0);
  for (const name of path) {
    const member = findMember(text, at, name);
    if (!member) throw new ProtocolError("malformed", `envelope.${path.join(".")}`, "missing");
    at = member.start;
  }
  const member = findMember(text, at, key);
  if (member) return text.slice(0, member.start) + json + text.slice(member.end);
  const isEmpty = text[skipSpace(text, at + 1)] === "}";
  return `${text.slice(0, at + 1)}${JSON.stringify(key)}: ${json}${isEmpty ? "" : ", "}${text.slice(at + 1)}`;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** The value of a member of the object that begins at `at`; of several with one name the last, as readers take it. */
function findMember(text: string, at: number, name: string): Span | undefined {
  if (text[at] !== "{") throw new ProtocolError("malformed", "envelope", "not an object");
  let found: Span | undefined;
  let i = skipSpace(text, at + 1);
  while (text[i] === '"') {
    const keyEnd = endOfString(text, i);
    const key = JSON.parse(text.slice(i, keyEnd)) as string;
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = endOfValue(text, start);
    if (key === name) found = { start, end };
    i = skipSpace(text, end);
    if (text[i] === ",") i = skipSpace(text, i + 1);
  }
  return found;
}

function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return endOfString(text, start);
  if (first !== "{" && first !== "[") {
    let i = start;
    while (i < text.length && !/[,}\]\s]/.test(text[i] as string)) i++;
    if (i === start) throw new ProtocolError("malformed", "envelope", "not JSON");
    return i;
  }
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    const unit = text[i];
    if (unit === '"') i = endOfString(text, i) - 1;
    else if (unit === "{" || unit === "[") depth++;
    else if ((unit === "}" || unit === "]") && --depth === 0) return i + 1;
  }
  throw new ProtocolError("malformed", "envelope", "it ends too early");
}

function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') return i + 1;
  }
  throw new ProtocolError("malformed", "envelope", "it ends too early");
}

function skipSpace(text: string, at: number): number {
  let i = at;
  while (text[i] === " " || text[i] === "\n" || text[i] === "\t" || text[i] === "\r") i++;
  return i;
}
