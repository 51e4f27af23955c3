/**
 * A property of every broker: after any run of publish, reserve, settle, requeue, park, expiry, sweep, release and crash,
 * each message is ready, on loan, parked, dead or gone, and only one of them. A model of a few lines says what should be
 * where; the broker is asked after each step.
 */
import fc from "fast-check";
import { expect } from "vitest";
import { FAIR_KEY_HEADER } from "../../src/protocol/fair-key.ts";
import type { Broker, Delivery, LoanEnd, Outgoing } from "../../src/brokers/broker.ts";
import type { FakeClock } from "../../src/testing/fake-clock.ts";

type Place = "ready" | "onLoan" | "parked" | "dead" | "gone";

interface Tracked {
  readonly id: string;
  readonly queue: string;
  place: Place;
  losses: number;
  dueAt: number;
}

interface Held {
  readonly worker: string;
  readonly message: Tracked;
  readonly delivery: Delivery;
  hasBegun: boolean;
  /** False once the loan was swept or released: a settlement must answer "lost". */
  valid: boolean;
}

export interface ModelledBroker {
  readonly broker: Broker;
  readonly clock: FakeClock;
  /** Queues that are taken by turns among keys. */
  readonly fair?: ReadonlySet<string>;
}

const QUEUES = ["a", "b"] as const;
const WORKERS = ["w1", "w2"] as const;
const LEASE_MS = 10_000;
const MAX_DELIVERIES = 3;
/** The gap between two sweeps that a broker may take for a sleeping machine: never, here. */
const NEVER_ASLEEP_MS = 1e9;

const queue = fc.constantFrom(...QUEUES);
const worker = fc.constantFrom(...WORKERS);
const pick = fc.nat(1000);

/** One step of a run. Numbers that pick something count modulo what there is to pick from. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("publish" as const), queue, count: fc.integer({ min: 1, max: 5 }), priority: fc.integer({ min: -1, max: 11 }) }) }, // prettier-ignore
  { weight: 5, arbitrary: fc.record({ do: fc.constant("reserve" as const), worker, count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("settle" as const), pick, count: fc.integer({ min: 1, max: 3 }), end: fc.constantFrom("ack", "front", "back", "putBack", "park", "deadLetter") }) }, // prettier-ignore
  { weight: 3, arbitrary: fc.record({ do: fc.constant("begin" as const), pick }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 8000 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("renew" as const), worker }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("sweep" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("unpark" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const), queue }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("release" as const), worker }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("purge" as const), queue }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restore" as const), pick }) },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Runs many random histories, each on a broker of its own. */
export async function checkAgainstModel(open: () => Promise<ModelledBroker & AsyncDisposable>, runs: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
      await using opened = await open();
      const run = new Run(opened);
      await run.start();
      for (const one of steps) await run.take(one);
      await run.everythingIsSomewhere();
    }),
    { numRuns: runs },
  );
}

class Run {
  readonly #broker: Broker;
  readonly #fair: ReadonlySet<string>;
  readonly #clock: FakeClock;
  readonly #messages: Tracked[] = [];
  #held: Held[] = [];
  readonly #leases = new Map<string, { endsAt: number; lost: boolean }>();

  constructor({ broker, clock, fair }: ModelledBroker) {
    this.#broker = broker;
    this.#fair = fair ?? new Set();
    this.#clock = clock;
  }

  async start(): Promise<void> {
    for (const name of WORKERS) await this.#renew(name);
  }

  async take(one: Step): Promise<void> {
    switch (one.do) {
      case "publish":
        await this.#publish(one.queue, one.count, one.priority);
        break;
      case "reserve":
        await this.#reserve(one.worker, one.count);
        break;
      case "settle":
        await this.#settle(one.pick, one.count, one.end);
        break;
      case "begin":
        await this.#begin(one.pick);
        break;
      case "advance":
        await this.#clock.advance(one.ms);
        break;
      case "renew":
        await this.#renew(one.worker);
        break;
      case "sweep":
        await this.#sweep();
        break;
      case "unpark":
        await this.#unpark();
        break;
      case "flush":
        await this.#flush(one.queue);
        break;
      case "release":
        await this.#release(one.worker);
        break;
      case "purge":
        expect(await this.#broker.purge(one.queue)).toBe(this.#move((message) => message.queue === one.queue && ["ready", "parked"].includes(message.place), "gone")); // prettier-ignore
        break;
      case "restore":
        await this.#restore(one.pick);
        break;
    }
    await this.#placesAgree();
  }

  /** Everything back to its queue, then out again: each message that is not gone comes exactly once. */
  async everythingIsSomewhere(): Promise<void> {
    for (const name of WORKERS) await this.#release(name);
    await this.#broker.delayed?.flush();
    this.#move(({ place }) => place === "parked", "ready");
    for (const message of this.#messages) {
      if (message.place !== "dead") continue;
      await this.#restoreOne(message);
    }
    await this.#placesAgree();
    const there = this.#messages.filter(({ place }) => place === "ready").map(({ id }) => id);
    await this.#renew("w1");
    const before = this.#held.length;
    while (this.#messages.some(({ place }) => place === "ready")) await this.#reserve("w1", 100);
    const came = this.#held.slice(before).map(({ message }) => message.id);
    expect(came.toSorted()).toEqual(there.toSorted());
  }

  async #publish(to: string, count: number, priority: number): Promise<void> {
    const outgoing = Array.from({ length: count }, (_, at) => {
      const id = `m${this.#messages.length + at}`;
      return outgoingMessage(id, to, priority);
    });
    await this.#broker.publish(outgoing);
    for (const _ of outgoing) {
      this.#messages.push({ id: `m${this.#messages.length}`, queue: to, place: "ready", losses: 0, dueAt: 0 });
    }
  }

  async #reserve(name: string, count: number): Promise<void> {
    const lease = this.#leases.get(name);
    const ready = this.#messages.filter(({ place }) => place === "ready").length;
    if (ready === 0 || lease?.lost) return; // nothing would come, and only time would tell
    for (const delivery of await takeOnce(this.#broker, QUEUES, name, count, this.#fair)) {
      const id = String(delivery.open().message.headers.id);
      const message = this.#messages.find((one) => one.id === id) as Tracked;
      expect(message.place).toBe("ready");
      expect({ queue: delivery.queue, losses: delivery.losses }).toEqual({ queue: message.queue, losses: message.losses });
      message.place = "onLoan";
      this.#held.push({ worker: name, message, delivery, hasBegun: false, valid: true });
    }
  }

  async #settle(at: number, count: number, kind: string): Promise<void> {
    if (this.#held.length === 0) return;
    const first = at % this.#held.length;
    const chosen = this.#held.splice(first, count);
    const settlements = chosen.map(({ delivery, message }) => ({ delivery, end: this.#end(kind, message) }));
    const answers = await this.#broker.settle(settlements);
    expect(answers).toEqual(chosen.map(({ valid }) => (valid ? "settled" : "lost")));
    for (const { message, valid } of chosen) {
      if (!valid) continue;
      message.place = kind === "ack" ? "gone" : kind === "park" ? "parked" : kind === "deadLetter" ? "dead" : "ready";
      message.dueAt = this.#clock.now() + 5000;
    }
  }

  async #begin(at: number): Promise<void> {
    const held = this.#held[at % Math.max(1, this.#held.length)];
    if (held === undefined || held.hasBegun || held.delivery.losses === 0) return;
    expect(await this.#broker.checkpoints?.begin(held.delivery)).toBe(held.valid ? "settled" : "lost");
    held.hasBegun = true;
  }

  #end(kind: string, message: Tracked): LoanEnd {
    const at = this.#clock.now();
    switch (kind) {
      case "front":
      case "back":
        return { kind: "requeue", to: kind };
      case "park":
        return { kind: "park", dueAt: at + 5000 };
      case "deadLetter": {
        const facts = { task: "t", reason: "rejected" as const, error: "no", worker: "w", at, losses: message.losses, retries: 0 };
        return { kind: "deadLetter", record: { id: message.id, ...facts } };
      }
      default:
        return { kind: kind === "putBack" ? "putBack" : "ack" };
    }
  }

  async #renew(name: string): Promise<void> {
    const lease = this.#leases.get(name);
    const answer = await this.#broker.leases?.renew(name, LEASE_MS);
    if (lease !== undefined) expect(answer?.held).toBe(!lease.lost);
    this.#leases.set(name, { endsAt: this.#clock.monotonic() + LEASE_MS, lost: false });
  }

  async #sweep(): Promise<void> {
    const report = await this.#broker.leases?.sweep({
      maxDeliveries: MAX_DELIVERIES,
      leaseMs: NEVER_ASLEEP_MS,
      visibilityTimeoutMs: NEVER_ASLEEP_MS,
    });
    const ended = [...this.#leases].filter(([, { endsAt, lost }]) => !lost && endsAt <= this.#clock.monotonic());
    let returned = 0;
    let deadLettered = 0;
    for (const [name, lease] of ended) {
      lease.lost = true;
      for (const held of this.#held.filter((one) => one.worker === name && one.valid)) {
        held.valid = false;
        if (held.message.losses === 0 || held.hasBegun) held.message.losses++;
        held.message.place = held.message.losses >= MAX_DELIVERIES ? "dead" : "ready";
        if (held.message.place === "dead") deadLettered++;
        else returned++;
      }
    }
    expect({ ...report, workers: report?.workers.toSorted() }).toEqual({
      returned,
      deadLettered,
      workers: ended.map(([name]) => name).toSorted(),
    });
  }

  async #unpark(): Promise<void> {
    const now = this.#clock.now();
    const answer = await this.#broker.delayed?.unpark();
    const moved = this.#move(({ place, dueAt }) => place === "parked" && dueAt <= now, "ready");
    const due = this.#messages.filter(({ place }) => place === "parked").map(({ dueAt }) => dueAt);
    expect(answer).toEqual({ moved, nextDueAt: due.length === 0 ? undefined : Math.min(...due) });
  }

  async #flush(name: string): Promise<void> {
    const moved = this.#move((message) => message.place === "parked" && message.queue === name, "ready");
    expect(await this.#broker.delayed?.flush(name)).toBe(moved);
  }

  async #release(name: string): Promise<void> {
    const held = this.#held.filter((one) => one.worker === name && one.valid);
    expect(await this.#broker.leases?.release(name)).toBe(held.length);
    for (const one of held) {
      one.valid = false;
      one.message.place = "ready";
    }
    this.#leases.delete(name);
    await this.#renew(name);
  }

  async #restore(at: number): Promise<void> {
    const dead = this.#messages.filter(({ place }) => place === "dead");
    const message = dead[at % dead.length];
    if (message !== undefined) await this.#restoreOne(message);
  }

  async #restoreOne(message: Tracked): Promise<void> {
    expect(await this.#broker.deadLetters?.restore(message.queue, message.id)).toBe(true);
    message.place = "ready";
    message.losses = 0; // it begins anew
  }

  async #placesAgree(): Promise<void> {
    const count = (name: string, place: Place): number =>
      this.#messages.filter((message) => message.queue === name && message.place === place).length;
    expect(await this.#broker.depth(QUEUES)).toEqual(
      QUEUES.map((name) => ({
        queue: name,
        ready: count(name, "ready"),
        parked: count(name, "parked"),
        onLoan: count(name, "onLoan"),
        dead: count(name, "dead"),
      })),
    );
    for (const name of this.#fair) {
      const page = await this.#broker.fairness?.page(name, { limit: 100 });
      const sum = (of: "waiting" | "running"): number => page?.keys.reduce((all, key) => all + key[of], 0) ?? Number.NaN;
      expect(sum("running")).toBe(count(name, "onLoan"));
      expect(sum("waiting") + (page?.unsorted ?? 0)).toBe(count(name, "ready"));
    }
  }

  #move(which: (message: Tracked) => boolean, to: Place): number {
    const moved = this.#messages.filter(which);
    for (const message of moved) message.place = to;
    return moved.length;
  }
}

/** One batch, from a consumer that lives no longer. There must be something to take. */
export async function takeOnce(
  broker: Broker,
  queues: readonly string[],
  worker: string,
  want: number,
  fair: ReadonlySet<string> = new Set(),
): Promise<readonly Delivery[]> {
  const end = new AbortController();
  const credit = { free: () => want, whenFree: async () => {} };
  try {
    for await (const batch of broker.consume(queues, { worker, credit, signal: end.signal, fair })) return batch;
    return [];
  } finally {
    end.abort();
  }
}

export function outgoingMessage(id: string, queue: string, priority = 0): Outgoing {
  return {
    exchange: "",
    routingKey: queue,
    message: {
      headers: { id, task: "t", retries: 0, [FAIR_KEY_HEADER]: `k${id.length}${id.at(-1)}` },
      properties: { correlationId: id, replyTo: undefined, deliveryMode: 2, priority, expirationMs: undefined, others: {} },
      contentType: "application/json",
      contentEncoding: "utf-8",
      body: Buffer.from("[[], {}, {}]"),
    },
  };
}
