/**
 * Where a call goes. Pure. Precedence as in Celery: the call's options, then the task's, then the routers in their
 * order, then the default queue (celery/app/routes.py, `Router.route`; celery/app/amqp.py, `send_task_message`).
 */
import { ConfigurationError } from "./errors.ts";
import type { CallOptions, Kwargs } from "./call-options.ts";
import { declareQueue, type DeclaredQueue, type Queue } from "./queues.ts";
import { readRoute, type Route, type Router } from "./routes.ts";
import { NotAccepted } from "./setting-kinds.ts";
import type { Settings } from "./settings.ts";
import type { DeliveryMode, ExchangeType } from "./task-options.ts";
import { didYouMean } from "../shared/suggest.ts";

export interface Destination {
  /** "" when the routing key is the queue's name. */
  readonly exchange: string;
  readonly routingKey: string;
  /** The queue to make known before publishing; undefined when a named exchange decides. */
  readonly queue: DeclaredQueue | undefined;
  readonly priority: number | undefined;
  readonly deliveryMode: 1 | 2;
  readonly serializer: string | undefined;
  /** null: none, whatever the settings say. */
  readonly compression: string | null | undefined;
}

/** The options of a call or a task that routing looks at. */
export type RoutingOptions = Pick<
  CallOptions,
  "queue" | "exchange" | "exchangeType" | "routingKey" | "priority" | "deliveryMode" | "serializer" | "compression"
>;

/** Queues that are declared, and those that came into use; made once per app. */
export class RoutingTable {
  readonly #settings: Settings;
  readonly #queues = new Map<string, DeclaredQueue>();
  readonly #routers: readonly Router[];
  readonly defaultQueue: DeclaredQueue;
  /** False: a route depends only on the task, and may be kept. */
  readonly looksAtArguments: boolean;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#routers = settings.taskRoutes ?? [];
    this.looksAtArguments = this.#routers.some((router) => router.kind === "function");
    for (const declaration of settings.taskQueues ?? []) {
      this.#queues.set(declaration.name, declareQueue(declaration, settings.taskDefaultExchangeType));
    }
    this.defaultQueue = this.#queues.get(settings.taskDefaultQueue) ?? this.#implicitDefault();
    if (this.#queues.size === 0) this.#queues.set(this.defaultQueue.name, this.defaultQueue);
  }

  /** What a worker consumes when it is not told otherwise: `taskQueues`, else the default queue. */
  get declared(): readonly DeclaredQueue[] {
    return [...this.#queues.values()];
  }

  /** A queue by name; created on the fly where the settings allow it. @throws ConfigurationError */
  queue(name: string): DeclaredQueue {
    const known = this.#queues.get(name);
    if (known) return known;
    if (name === this.defaultQueue.name) return this.defaultQueue;
    if (!this.#settings.taskCreateMissingQueues) {
      throw new ConfigurationError(
        `the queue ${name} is not in taskQueues, and taskCreateMissingQueues is false.${didYouMean(name, this.#queues.keys())}`,
      );
    }
    return this.#create(name);
  }

  /** @param task options of the task itself; @param call options of the call, which win */
  route(name: string, task: RoutingOptions, call: RoutingOptions, args: readonly unknown[], kwargs: Kwargs, taskId: string): Destination {
    const explicit = { ...withoutUnset(task), ...withoutUnset(call) } as RoutingOptions;
    const routed = this.#ask(name, args, kwargs, explicit, taskId);
    const options: RoutingOptions = { ...withoutUnset(routed ?? {}), ...explicit };
    const usesDefault = options.queue === undefined && (routed === undefined || options.exchange === undefined);
    const queue = usesDefault ? this.defaultQueue : options.queue === undefined ? undefined : this.#resolve(options.queue);
    return { ...this.#address(options, queue), ...this.#rest(options) };
  }

  #address(options: RoutingOptions, queue: DeclaredQueue | undefined): Pick<Destination, "exchange" | "routingKey" | "queue"> {
    const binding = queue?.bindings[0];
    const type: ExchangeType = options.exchangeType ?? binding?.exchangeType ?? "direct";
    const { exchange, routingKey } = options;
    if (queue && (!exchange || !routingKey) && type === "direct") return { exchange: "", routingKey: queue.name, queue };
    return {
      exchange: exchange ?? binding?.exchange ?? this.#settings.taskDefaultExchange ?? "",
      routingKey: routingKey ?? binding?.routingKey ?? this.#settings.taskDefaultRoutingKey ?? queue?.name ?? "",
      queue,
    };
  }

  #rest(options: RoutingOptions): Pick<Destination, "priority" | "deliveryMode" | "serializer" | "compression"> {
    return {
      priority: options.priority ?? this.#settings.taskDefaultPriority ?? undefined,
      deliveryMode: deliveryModeNumber(options.deliveryMode) ?? this.#settings.taskDefaultDeliveryMode,
      serializer: options.serializer,
      compression: options.compression,
    };
  }

  #ask(name: string, args: readonly unknown[], kwargs: Kwargs, options: RoutingOptions, taskId: string): Route | undefined {
    for (const router of this.#routers) {
      const answer = router.kind === "table" ? router.find(name) : router.ask(name, args, kwargs, { options, taskId });
      if (answer === undefined || answer === null) continue;
      return router.kind === "table" ? (answer as Route) : checkedAnswer(answer, name);
    }
    return undefined;
  }

  #resolve(queue: string | Queue): DeclaredQueue {
    if (typeof queue === "string") return this.queue(queue);
    return declareQueue({ name: queue.name, options: queue.options }, this.#settings.taskDefaultExchangeType);
  }

  #create(name: string): DeclaredQueue {
    const type = this.#settings.taskCreateMissingQueueExchangeType ?? this.#settings.taskDefaultExchangeType;
    return declareQueue({ name, options: {} }, type);
  }

  #implicitDefault(): DeclaredQueue {
    const { taskDefaultQueue: name, taskDefaultExchange, taskDefaultRoutingKey, taskDefaultExchangeType } = this.#settings;
    return declareQueue(
      { name, options: { exchange: taskDefaultExchange ?? name, routingKey: taskDefaultRoutingKey ?? name } },
      taskDefaultExchangeType,
    );
  }
}

export function deliveryModeNumber(mode: DeliveryMode | undefined): 1 | 2 | undefined {
  return mode === "transient" ? 1 : mode === "persistent" ? 2 : mode;
}

function checkedAnswer(answer: unknown, name: string): Route {
  try {
    return readRoute(answer, name);
  } catch (error) {
    throw error instanceof NotAccepted ? new ConfigurationError(`a router function of taskRoutes: ${error.detail}`) : error;
  }
}

function withoutUnset(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
