/**
 * Whether a routing key matches a topic pattern, by AMQP's rule: words between dots, `*` is exactly one word, `#` any
 * number of them. (kombu's Redis transport lets `*` match several words; the Redis driver follows that, this does not.)
 */
export function topicMatches(pattern: string, routingKey: string): boolean {
  return match(pattern.split("."), 0, routingKey.split("."), 0);
}

function match(pattern: readonly string[], at: number, words: readonly string[], from: number): boolean {
  if (at === pattern.length) return from === words.length;
  const part = pattern[at];
  if (part === "#") {
    if (pattern[at + 1] === "#") return match(pattern, at + 1, words, from);
    for (let next = from; next <= words.length; next++) if (match(pattern, at + 1, words, next)) return true;
    return false;
  }
  if (from === words.length) return false;
  return (part === "*" || part === words[from]) && match(pattern, at + 1, words, from + 1);
}

/** The queues that a message published to a named exchange reaches, each once. */
export function boundQueues(bindings: Iterable<Binding>, routingKey: string): readonly string[] {
  const queues = new Set<string>();
  for (const { queue, type, key } of bindings) {
    const reached = type === "fanout" || (type === "topic" ? topicMatches(key, routingKey) : key === routingKey);
    if (reached) queues.add(queue);
  }
  return [...queues];
}

export interface Binding {
  readonly queue: string;
  readonly type: "direct" | "topic" | "fanout";
  /** The routing key or the pattern. */
  readonly key: string;
}
