/**
 * The guard thread's duty to a lease: keeps it, on a broker of its own, from its making until `stop`. A broker that
 * cannot be reached at first is tried again, so that the thread goes on telling about health meanwhile.
 */
import { type BrokerSpec, connectBroker } from "../app/connect.ts";
import type { Broker } from "../brokers/broker.ts";
import { whenAborted } from "../shared/abort.ts";
import { sleep } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import { backoffMs } from "./backoff.ts";
import { type GuardDeps, type GuardEvents, GuardLoop, type GuardOptions } from "./guard-loop.ts";
import type { HealthDesk } from "./health/desk.ts";
import { Lease } from "./lease.ts";

/** What crosses to the thread. */
export interface GuardDuty {
  readonly spec: BrokerSpec;
  readonly options: GuardOptions;
  readonly queues: readonly string[];
  readonly lease: { readonly memory: SharedArrayBuffer; readonly startedAt: number };
}

const CONNECT = { baseMs: 200, maxMs: 5000 };

export class Duty {
  readonly #data: GuardDuty;
  readonly #desk: HealthDesk | undefined;
  readonly #events: GuardEvents;
  readonly #deps: GuardDeps;
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;
  #loop: GuardLoop | undefined;

  constructor(data: GuardDuty, desk: HealthDesk | undefined, events: GuardEvents, deps: GuardDeps) {
    this.#data = data;
    this.#desk = desk;
    this.#events = events;
    this.#deps = deps;
    this.#done = this.#run();
  }

  noteParked(dueAt: number): void {
    this.#loop?.noteParked(dueAt);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the guard stops"));
    await this.#done;
  }

  async #run(): Promise<void> {
    const { options, queues, lease: shared } = this.#data;
    const { signal } = this.#stopping;
    const lease = new Lease({ leaseMs: options.leaseMs, ...shared });
    this.#desk?.watchLease(lease, options.leaseMs);
    const opened = await this.#connect();
    if (opened === undefined) return;
    await using broker = opened;
    const events = {
      renewed: () => {
        this.#desk?.noteTrouble("guard", undefined);
        this.#events.renewed();
      },
      lost: () => this.#events.lost(),
      failed: (error: unknown) => this.#desk?.noteTrouble("guard", errorText(error)),
    };
    const loop = (this.#loop = new GuardLoop(broker, lease, options, events, this.#deps));
    loop.start();
    this.#desk?.askFor(queues, broker);
    await whenAborted(signal);
    this.#desk?.stopAsking();
    await loop.stop();
  }

  async #connect(): Promise<Broker | undefined> {
    const { clock, random, logger } = this.#deps;
    for (let failures = 0; !this.#stopping.signal.aborted; failures++) {
      try {
        return await connectBroker(this.#data.spec, this.#deps);
      } catch (error) {
        if (failures === 0) logger.warn({ err: error }, `the guard cannot connect, trying again: ${errorText(error)}`);
        this.#desk?.noteTrouble("guard", errorText(error));
        await sleep(clock, backoffMs(failures, CONNECT, random), this.#stopping.signal).catch(() => undefined);
      }
    }
    return undefined;
  }
}
