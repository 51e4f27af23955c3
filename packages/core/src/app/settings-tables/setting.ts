/** One row of the table of settings. */
import { anything, type InputOf, type Kind } from "../setting-kinds.ts";

export interface Setting<K extends AnyKind = AnyKind> {
  readonly kind: K;
  /** As a user would write it; durations in seconds. */
  readonly default: InputOf<K>;
  readonly meaning: string;
  /** Celery's default where ours differs. */
  readonly celery?: InputOf<K>;
  /** Shown masked everywhere. A URL is shown without its password whether or not this is set. */
  readonly secret?: true;
  /** `ours`: Celery has no such setting. `amqp`: only RabbitMQ looks at it. `unused`: accepted, and without any effect here. */
  readonly scope?: "ours" | "amqp" | "unused";
  readonly note?: string;
}

type AnyKind = Kind<unknown, unknown>;
type Extra<K extends AnyKind> = Omit<Setting<K>, "kind" | "default" | "meaning">;

export function setting<K extends AnyKind>(
  kind: K,
  initial: NoInfer<InputOf<K>>,
  meaning: string,
  extra: Extra<NoInfer<K>> = {},
): Setting<K> {
  return { kind, default: initial, meaning, ...extra };
}

/** Accepted so that a configuration shared with Python can be used as it is. */
export function unused(why: string): Setting {
  return { kind: anything, default: null, meaning: why, scope: "unused" };
}

export function amqpOnly<K extends AnyKind>(kind: K, initial: NoInfer<InputOf<K>>, meaning: string): Setting<K> {
  return { kind, default: initial, meaning, scope: "amqp" };
}
