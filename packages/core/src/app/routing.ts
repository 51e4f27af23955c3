/**
 * Where a call goes. Pure. Precedence as in Celery: the call's options, then the task's, then the routers in their
 * order, then the default queue (celery/app/routes.py, `Router.route`; celery/app/amqp.py, `send_task_message`).
 */
import { ConfigurationError } from "./errors.ts";
import type { Kwargs } from "./call-options.ts";
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

/** The options of a call, a task or a route that routing looks at. */
export interface RoutingOptions {
  readonly queue?: string | Queue | undefined;
  readonly exchange?: string | undefined;
  readonly exchangeType?: ExchangeType | undefined;
  readonly routingKey?: string | undefined;
  readonly priority?: number | undefined;
  readonly deliveryMode?: DeliveryMode | undefined;
  readonly serializer?: string | undefined;
  readonly compression?: string | null | undefined;
}

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
    const explicit = over(call, task);
    const routed = this.#routers.length === 0 ? undefined : this.#ask(name, args, kwargs, explicit, taskId);
    const options = routed === undefined ? explicit : over(explicit, routed);
    const usesDefault = options.queue === undefined && (routed === undefined || options.exchange === undefined);
    const queue = usesDefault ? this.defaultQueue : options.queue === undefined ? undefined : this.#resolve(options.queue);
    const [exchange, routingKey] = this.#address(options, queue);
    return {
      exchange,
      routingKey,
      queue,
      priority: options.priority ?? this.#settings.taskDefaultPriority ?? undefined,
      deliveryMode: deliveryModeNumber(options.deliveryMode) ?? this.#settings.taskDefaultDeliveryMode,
      serializer: options.serializer,
      compression: options.compression,
    };
  }

  #address(options: RoutingOptions, queue: DeclaredQueue | undefined): readonly [exchange: string, routingKey: string] {
    const binding = queue?.bindings[0];
    const type: ExchangeType = options.exchangeType ?? binding?.exchangeType ?? "direct";
    const { exchange, routingKey } = options;
    if (queue && (!exchange || !routingKey) && type === "direct") return ["", queue.name];
    return [
      exchange ?? binding?.exchange ?? this.#settings.taskDefaultExchange ?? "",
      routingKey ?? binding?.routingKey ?? this.#settings.taskDefaultRoutingKey ?? queue?.name ?? "",
    ];
  }

  #ask(name: string, args: readonly unknown[], kwargs: Kwargs, options: RoutingOptions, taskId: string): Route | undefined {
    for (const router of this.#routers) {
      const answer =
        router.kind === "table"
          ? router.find(name)
          : router.ask(name, args, kwargs, { options: options as Readonly<Record<string, unknown>>, taskId });
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

/** What `first` says, and where it says nothing, `second`. Written out because it runs for every call that has options. */
function over(first: RoutingOptions, second: RoutingOptions): RoutingOptions {
  return {
    queue: first.queue ?? second.queue,
    exchange: first.exchange ?? second.exchange,
    exchangeType: first.exchangeType ?? second.exchangeType,
    routingKey: first.routingKey ?? second.routingKey,
    priority: first.priority ?? second.priority,
    deliveryMode: first.deliveryMode ?? second.deliveryMode,
    serializer: first.serializer ?? second.serializer,
    compression: first.compression === undefined ? second.compression : first.compression, // null is an answer: none
  };
}
