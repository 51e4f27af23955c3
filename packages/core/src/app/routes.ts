/** `taskRoutes`: where tasks go, by name. The forms users may write, and the list of routers that `routing.ts` asks in turn. */
import { isPriority, PRIORITY_ACCEPTED } from "./priority.ts";
import { nameMatcher, type NamePattern } from "./name-pattern.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";
import type { DeliveryMode, ExchangeType } from "./task-options.ts";

/** A destination and other options of a call; a text is a queue's name. */
export interface Route {
  readonly queue?: string;
  readonly exchange?: string;
  readonly exchangeType?: ExchangeType;
  readonly routingKey?: string;
  readonly priority?: number;
  readonly deliveryMode?: DeliveryMode;
  readonly serializer?: string;
  readonly compression?: string | null;
}

/** Returns a route, a queue's name, or nothing when it has no opinion. Must be quick and must not throw. */
export type RouterFunction = (
  name: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  call: RouterCall,
) => Route | string | null | undefined;

export interface RouterCall {
  /** The options of the call, as given. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly taskId: string;
}

export type RouteTable = Readonly<Record<string, Route | string>>;
export type RoutesInput = RouteTable | RouterFunction | readonly (RouteTable | RouterFunction | readonly [NamePattern, Route | string])[];

/** `isFunction` routers look at arguments, so their answer cannot be kept per task. */
export type Router =
  | { readonly kind: "table"; readonly find: (name: string) => Route | undefined }
  | { readonly kind: "function"; readonly ask: RouterFunction };

const ROUTE_KEYS: Readonly<Record<string, string>> = {
  queue: "queue",
  exchange: "exchange",
  exchangeType: "exchangeType",
  exchange_type: "exchangeType",
  routingKey: "routingKey",
  routing_key: "routingKey",
  priority: "priority",
  deliveryMode: "deliveryMode",
  delivery_mode: "deliveryMode",
  serializer: "serializer",
  compression: "compression",
};

/** @throws NotAccepted with the entry that is wrong. */
export function readRoutes(value: unknown): readonly Router[] {
  if (!Array.isArray(value)) return [readRouter(value)];
  if (value.length > 0 && value.every(isPair)) return [table(value.map(([pattern, route]) => entry(pattern, route)))];
  return value.map((item: unknown) => (isPair(item) ? table([entry(item[0], item[1])]) : readRouter(item)));
}

function readRouter(value: unknown): Router {
  if (typeof value === "function") return { kind: "function", ask: value as RouterFunction };
  if (isPlain(value)) return table(Object.entries(value).map(([pattern, route]) => entry(pattern, route)));
  throw new NotAccepted();
}

function isPair(item: unknown): item is readonly [NamePattern, unknown] {
  return Array.isArray(item) && item.length === 2 && (typeof item[0] === "string" || item[0] instanceof RegExp);
}

interface Entry {
  readonly exact: string | undefined;
  readonly matches: (name: string) => boolean;
  readonly route: Route;
}

function entry(pattern: NamePattern, route: unknown): Entry {
  const exact = typeof pattern === "string" && !/[*?[]|^\/.*\/[a-z]*$/s.test(pattern) ? pattern : undefined;
  return { exact, matches: nameMatcher(pattern), route: readRoute(route, String(pattern)) };
}

/** As in Celery, an exact name wins over patterns; among patterns the first that matches. */
function table(entries: readonly Entry[]): Router {
  const exact = new Map(entries.flatMap((item) => (item.exact === undefined ? [] : [[item.exact, item.route] as const])));
  const patterns = entries.filter((item) => item.exact === undefined);
  return { kind: "table", find: (name) => exact.get(name) ?? patterns.find((item) => item.matches(name))?.route };
}

/** Also checks what a router function returned. @throws NotAccepted */
export function readRoute(value: unknown, where: string): Route {
  if (typeof value === "string") return { queue: value };
  if (!isPlain(value)) throw new NotAccepted(`the route of ${where} is neither a queue's name nor an object`);
  const route: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) {
    const known = ROUTE_KEYS[key];
    if (known === undefined) throw new NotAccepted(`the route of ${where} has an unknown key "${key}"`);
    if (part === undefined) continue;
    const wants = known === "priority" ? "number" : known === "deliveryMode" ? typeof part : "string";
    if (typeof part !== wants && !(part === null && known === "compression"))
      throw new NotAccepted(`"${key}" in the route of ${where} is not a ${wants}`);
    if (known === "priority" && !isPriority(part))
      throw new NotAccepted(`"${key}" in the route of ${where} is ${JSON.stringify(part)}: it takes ${PRIORITY_ACCEPTED}`);
    route[known] = part;
  }
  return route;
}
