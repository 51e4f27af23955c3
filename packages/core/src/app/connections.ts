/**
 * An app's broker, result backend and producer. Each is closed -> opening -> open, on first use; an opening that failed
 * goes back to closed, so that the next use tries again. After `close()` they stay closed, also one that was opening.
 */
import { join } from "node:path";
import type { Broker } from "../brokers/broker.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import type { Clock, Random } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { backendSpec, brokerSpec, connectBackend, connectBroker, specLocation } from "./connect.ts";
import type { BackendSpec, BrokerSpec, ConnectDeps, EmbeddedStore } from "./connect.ts";
import { AppClosedError, ConfigurationError } from "./errors.ts";
import { Producer } from "./producer.ts";
import type { DeclaredQueue } from "./queues.ts";
import type { Settings } from "./settings.ts";

export interface ConnectionsDeps {
  readonly appName: string;
  /** Folder of `.lovage/`. */
  readonly root: string;
  readonly clock: Clock;
  readonly random: Random;
  /** The embedded broker is for development. */
  readonly isProduction: boolean;
  /** Name of the variable that names the broker. */
  readonly brokerVariable: string;
  logger(): Logger;
  settings(): Settings;
  declaredQueues(): readonly DeclaredQueue[];
}

export class Connections {
  readonly #deps: ConnectionsDeps;
  readonly #opened = new Set<AsyncDisposable>();
  #broker: Promise<Broker> | undefined;
  #backend: Promise<ResultBackend | undefined> | undefined;
  #producer: Producer | undefined;
  #isClosed = false;
  #saidEmbedded = false;

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps;
  }

  broker(): Promise<Broker> {
    return (this.#broker ??= this.#open(
      async () => connectBroker(this.brokerSpec(), this.#driverDeps()),
      () => {
        this.#broker = undefined;
      },
    ));
  }

  backend(): Promise<ResultBackend | undefined> {
    return (this.#backend ??= this.#open(
      async () => {
        const spec = this.backendSpec();
        return spec && connectBackend(spec, this.#driverDeps());
      },
      () => {
        this.#backend = undefined;
      },
    ));
  }

  /** @throws AppClosedError */
  get producer(): Producer {
    if (this.#isClosed) throw new AppClosedError(this.#deps.appName);
    return (this.#producer ??= this.#makeProducer());
  }

  /** @throws ConfigurationError in production, when no broker is named */
  brokerSpec(part: "read" | "write" = "write"): BrokerSpec {
    const settings = this.#deps.settings();
    if (settings.brokerUrl === null && settings.brokerReadUrl === null && settings.brokerWriteUrl === null) this.#allowEmbedded();
    return brokerSpec(settings, this.#embedded, part);
  }

  backendSpec(): BackendSpec | undefined {
    return backendSpec(this.#deps.settings(), this.#embedded);
  }

  async close(): Promise<void> {
    await this.#producer?.close();
    this.#isClosed = true;
    await Promise.all([...this.#opened].map((each) => each[Symbol.asyncDispose]()));
    this.#opened.clear();
  }

  async #open<Opened extends AsyncDisposable | undefined>(connect: () => Promise<Opened>, failed: () => void): Promise<Opened> {
    try {
      if (this.#isClosed) throw new AppClosedError(this.#deps.appName);
      const opened = await connect();
      if (opened && this.#isClosed) {
        await opened[Symbol.asyncDispose]();
        throw new AppClosedError(this.#deps.appName);
      }
      if (opened) this.#opened.add(opened);
      return opened;
    } catch (error) {
      failed();
      throw error;
    }
  }

  #makeProducer(): Producer {
    const { appName, clock, random } = this.#deps;
    const settings = this.#deps.settings();
    return new Producer({
      appName,
      clock,
      random,
      broker: () => this.broker(),
      location: () => specLocation(this.brokerSpec()),
      publishTimeoutMs: settings.publishTimeoutMs,
      retry: settings.taskPublishRetry ? settings.taskPublishRetryPolicy : null,
      buffer: { max: settings.publishBuffer, timeoutMs: settings.publishBufferTimeoutMs },
      declared: this.#deps.declaredQueues(),
    });
  }

  #driverDeps(): ConnectDeps {
    return { logger: this.#deps.logger(), clock: this.#deps.clock, random: this.#deps.random };
  }

  get #embedded(): EmbeddedStore {
    return { root: this.#deps.root, file: join(this.#deps.root, ".lovage", "lovage.db") };
  }

  #allowEmbedded(): void {
    const { brokerVariable: variable, isProduction } = this.#deps;
    if (isProduction) {
      throw new ConfigurationError(
        `${variable} is not set. In production the broker must be named, for example ${variable}=redis://127.0.0.1:6379/0`,
      );
    }
    if (this.#saidEmbedded) return;
    this.#saidEmbedded = true;
    this.#deps.logger().info({ file: this.#embedded.file }, `${variable} is not set: using the embedded broker`);
  }
}
