/**
 * A broker's driver as a process sees it, and a result backend's: they keep the promises of `brokers/broker.ts` over a
 * connection that delays, refuses, breaks and loses answers, in the way the drivers of real servers do: batches have
 * numbers, so that sending one again does it once, and what was lent in an answer that was lost is lent again.
 */
import type {
  Broker,
  Checkpoints, ConsumeOptions, DelayedQueue, Delivery, GroupEnds, Leases, Outgoing, PublishFate, PublishOptions, Revocations, SettleAnswer, SettleOptions, Settlement,
} from "../../src/brokers/broker.ts"; // prettier-ignore
import { BrokerUnavailableError, PublishError } from "../../src/brokers/errors.ts";
import type { MemoryBroker } from "../../src/brokers/memory/memory-broker.ts";
import { BackendUnavailableError } from "../../src/results/errors.ts";
import type { Groups } from "../../src/results/groups.ts";
import type { ResultBackend, ResultText, ResultWrite } from "../../src/results/result-backend.ts";
import { sleep } from "../../src/shared/clock.ts";
import type { LoanCredit } from "../../src/worker/credit.ts";
import { LinkLost, type Process } from "./process.ts";
import type { Server } from "./server.ts";

const LOCATION = "sim://server";
const GIVE_BACK_MS = 3000;

let numbers = 0;

export class Driver implements Broker {
  readonly kind = "sim";
  readonly location = LOCATION;
  readonly leases: Leases;
  readonly checkpoints: Checkpoints;
  readonly delayed: DelayedQueue;
  readonly deadLetters;
  readonly groupEnds: GroupEnds;
  /** The worker's own account of what it may take, to be checked from outside. */
  credit: LoanCredit | undefined;
  readonly #process: Process;
  readonly #server: Server;
  readonly #isOneStore: boolean;
  readonly #at: MemoryBroker;
  #epoch = 0;
  #left: Delivery[] = [];
  /** The last that was sent. */
  #settling: Promise<unknown> | undefined;
  #lossesHeard = 0;

  constructor(process: Process, server: Server, isOneStore: boolean) {
    this.#process = process;
    this.#server = server;
    this.#isOneStore = isOneStore;
    const at = server.connect();
    this.#at = at;
    this.deadLetters = at.deadLetters;
    const { clock } = process;
    this.leases = {
      renew: async (worker, durationMs) => {
        const sentAt = clock.now();
        const asked = process.askClock();
        const renewing = this.#ask("renew", () => server.renew(at, worker, durationMs, this.#lossesHeard));
        renewing.then(
          () => process.renewed(true),
          () => process.renewed(false),
        );
        const answer = await renewing;
        asked();
        this.#lossesHeard = answer.losses;
        return { held: answer.held, clockOffsetMs: answer.now - (sentAt + clock.now()) / 2 };
      },
      sweep: (options) => this.#ask("sweep", () => server.sweep(at, options)),
      release: (worker) => this.#ask("release", () => server.release(at, worker)),
      list: () => this.#ask("list", () => at.leases.list()),
    };
    this.groupEnds = {
      finish: async (end, { signal }) => {
        for (;;) {
          signal?.throwIfAborted();
          try {
            return await abortable(
              this.#process.ask(`end ${end.groupId}`, () => at.groupEnds.finish(end, { backend: server.backend })),
              signal,
            );
          } catch (error) {
            if (!(error instanceof LinkLost)) throw error;
            await this.#pause(signal);
          }
        }
      },
    };
    this.checkpoints = {
      write: (delivery, message) => this.#ask("write a checkpoint", () => at.checkpoints.write(delivery, message)),
      begin: (delivery) => this.#ask("begin a suspect", () => at.checkpoints.begin(delivery)),
    };
    this.delayed = {
      unpark: () => this.#ask("unpark", () => at.delayed.unpark()),
      flush: (queue) => this.#ask("flush", () => at.delayed.flush(queue)),
    };
  }

  async publish(messages: readonly Outgoing[], { signal }: PublishOptions = {}): Promise<void> {
    const number = `p${++numbers}`;
    let isSent = false;
    const fail = (cause: unknown): never => {
      const fate: PublishFate = isSent ? "unknown" : "refused";
      throw new PublishError(LOCATION, messages.map(() => fate), new BrokerUnavailableError(LOCATION, cause)); // prettier-ignore
    };
    for (;;) {
      try {
        if (signal?.aborted) throw new LinkLost(false);
        const publishing = this.#process.ask(`publish ${messages.length}`, () => this.#server.publish(this.#at, number, messages));
        return await abortable(publishing, signal);
      } catch (error) {
        if (error instanceof PublishError) throw error;
        isSent ||= error instanceof LinkLost ? error.sent : true;
        if (signal?.aborted || this.#process.random() < 0.1) fail(error);
        await this.#pause(signal).catch(fail);
      }
    }
  }

  /** Puts a text in a queue as it is: what another program might send. */
  inject(queue: string, text: string): void {
    this.#at.inject(queue, text);
  }

  async *consume(queues: readonly string[], options: ConsumeOptions): AsyncGenerator<readonly Delivery[], void, undefined> {
    const { worker, credit, signal, events } = options;
    this.credit = credit as LoanCredit;
    this.#process.owner = worker;
    let heard = 0;
    let epoch = ++this.#epoch;
    events?.connected?.();
    try {
      while (!signal.aborted) {
        await credit.whenFree(signal);
        const want = credit.free();
        if (want === 0) continue;
        let ready = await this.#findLeft(signal);
        try {
          if (ready.length === 0) {
            const question = { owner: worker, epoch, queues, want, heard };
            const asking = this.#process.ask("reserve", () => this.#server.reserve(this.#at, question));
            const batch = await abortable(asking, signal);
            heard = batch.number;
            ready = batch.deliveries;
          }
          events?.alive?.();
        } catch (error) {
          if (signal.aborted) return;
          events?.disconnected?.(new BrokerUnavailableError(LOCATION, error));
          await this.#pause(signal);
          epoch = ++this.#epoch;
          events?.connected?.();
          continue;
        }
        while (ready.length > 0) {
          if (credit.free() === 0) await credit.whenFree(signal).catch(() => undefined);
          const free = credit.free();
          if (signal.aborted || free === 0) {
            await this.#giveBack(ready);
            return;
          }
          const batch = ready.slice(0, free);
          ready = ready.slice(free);
          yield batch;
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await this.#within(GIVE_BACK_MS, () =>
        this.#process.ask("end consuming", () => this.#server.endConsuming(this.#at, worker, epoch, heard)),
      );
    }
  }

  async settle(settlements: readonly Settlement[], { signal, backend, completed }: SettleOptions = {}): Promise<readonly SettleAnswer[]> {
    const answers: SettleAnswer[] = [];
    // A batch may take several steps, and only each settlement is one.
    const size = this.#process.random() < 0.3 ? 1 + Math.floor(this.#process.random() * 4) : Infinity;
    for (let from = 0; from < settlements.length; from += size) {
      const part = settlements.slice(from, from + size);
      answers.push(...(await this.#settleOne(part, backend !== undefined, completed, signal)));
    }
    return answers;
  }

  async #settleOne(
    settlements: readonly Settlement[],
    withResults: boolean,
    completed: SettleOptions["completed"],
    signal: AbortSignal | undefined,
  ): Promise<readonly SettleAnswer[]> {
    const number = `s${++numbers}`;
    const what = `settle ${settlements.map(({ delivery, end }) => `#${delivery.loan}=${end.kind}`).join(" ")}`;
    for (;;) {
      signal?.throwIfAborted();
      try {
        const settling = this.#process.ask(what, () => this.#server.settle(this.#at, number, settlements, withResults));
        this.#settling = settling;
        const { answers, completed: those } = await abortable(settling, signal);
        for (const each of those) completed?.(each);
        return answers;
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error;
        await this.#pause(signal);
      }
    }
  }

  async bind(...args: Parameters<Broker["bind"]>): Promise<void> {
    await this.#ask("bind", () => this.#at.bind(...args));
  }

  depth(queues: readonly string[]): ReturnType<Broker["depth"]> {
    return this.#ask("depth", () => this.#at.depth(queues));
  }

  purge(queue: string): Promise<number> {
    return this.#ask("purge", () => this.#at.purge(queue));
  }

  settlesWith(): boolean {
    return this.#isOneStore;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #ask<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#process.ask(what, work);
    } catch (error) {
      throw new BrokerUnavailableError(LOCATION, error);
    }
  }

  /** What cannot be given back in time is found by a later consumer. */
  async #giveBack(deliveries: readonly Delivery[]): Promise<void> {
    this.#left.push(...deliveries);
    const late = new AbortController();
    await this.#within(GIVE_BACK_MS, async () => {
      await this.settle(deliveries.map((delivery) => ({ delivery, end: { kind: "putBack" } })), { signal: late.signal }); // prettier-ignore
      this.#left = this.#left.filter((delivery) => !deliveries.includes(delivery));
    });
    late.abort(new Error("too late"));
  }

  /** What an earlier consumer could not give back and is still on loan. As with a real driver, nothing that was sent before comes after this. */
  async #findLeft(signal: AbortSignal): Promise<readonly Delivery[]> {
    while (this.#left.length > 0) {
      await abortable(Promise.allSettled([this.#settling]), signal);
      try {
        const still = await abortable(
          this.#process.ask("find loans", () => this.#server.stillLent(this.#left)),
          signal,
        );
        this.#left = [];
        return still;
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error;
        await this.#pause(signal);
      }
    }
    return [];
  }

  async #within(ms: number, work: () => Promise<unknown>): Promise<void> {
    const enough = new AbortController();
    await Promise.race([work().catch(() => undefined), sleep(this.#process.uncounted, ms, enough.signal).catch(() => undefined)]);
    enough.abort();
  }

  #pause(signal: AbortSignal | undefined): Promise<void> {
    return sleep(this.#process.uncounted, 20 + this.#process.random() * 300, signal);
  }
}

/** Reads the revocations that the server has, whatever the network does. */
export class RevocableDriver extends Driver {
  readonly revocations: Revocations;

  constructor(process: Process, server: Server, isOneStore: boolean) {
    super(process, server, isOneStore);
    this.revocations = server.connect().revocations;
  }
}

export class DriverBackend implements ResultBackend {
  readonly kind = "sim";
  readonly location = LOCATION;
  readonly #process: Process;
  readonly #server: Server;

  constructor(process: Process, server: Server) {
    this.#process = process;
    this.#server = server;
  }

  store(writes: readonly ResultWrite[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#ask(`store ${writes.map(({ taskId, state }) => `${taskId}=${state}`).join(" ")}`, signal, (backend) =>
      backend.store(writes),
    );
  }

  fetch(ids: readonly string[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<readonly (ResultText | undefined)[]> {
    return this.#ask("fetch", signal, (backend) => backend.fetch(ids));
  }

  readonly groups: Groups = {
    begin: (sizes) => this.#ask("begin groups", undefined, ({ groups }) => groups.begin(sizes)),
    extend: (id, count, expiresMs) => this.#ask("extend a group", undefined, ({ groups }) => groups.extend(id, count, expiresMs)),
    addParts: (parts, options) => this.#ask("add parts", options?.signal, ({ groups }) => groups.addParts(parts)),
    parts: (id) => this.#ask("read parts", undefined, ({ groups }) => groups.parts(id)),
    look: (id, first, count) => this.#ask("look at a group", undefined, ({ groups }) => groups.look(id, first, count)),
    due: (id) => this.#ask("read what is due", undefined, ({ groups }) => groups.due(id)),
    quiet: (limit, firstMs) => this.#ask("look at quiet groups", undefined, ({ groups }) => groups.quiet(limit, firstMs)),
    giveUp: (id, reason) => this.#ask("give up a group", undefined, ({ groups }) => groups.giveUp(id, reason)),
    claimDue: (limit) => this.#ask("claim what is due", undefined, ({ groups }) => groups.claimDue(limit)),
    reopen: (id, surplus) => this.#ask("reopen a group", undefined, ({ groups }) => groups.reopen(id, surplus)),
    end: (ids) => this.#ask("end groups", undefined, ({ groups }) => groups.end(ids)),
    save: (id, document, expiresMs) => this.#ask("save a group", undefined, ({ groups }) => groups.save(id, document, expiresMs)),
    restore: (id) => this.#ask("restore a group", undefined, ({ groups }) => groups.restore(id)),
    forget: (ids) => this.#ask("forget groups", undefined, ({ groups }) => groups.forget(ids)),
  };

  watch(id: string, onDocument: (document: ResultText) => void): Promise<Disposable> {
    return this.#ask("watch", undefined, (backend) => backend.watch(id, onDocument));
  }

  forget(ids: readonly string[]): Promise<void> {
    return this.#ask("forget", undefined, (backend) => backend.forget(ids));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #ask<T>(what: string, signal: AbortSignal | undefined, work: (backend: ResultBackend) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await abortable(this.#process.ask(what, () => work(this.#server.backend)), signal); // prettier-ignore
    } catch (error) {
      signal?.throwIfAborted();
      throw new BackendUnavailableError(LOCATION, error);
    }
  }
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  promise.catch(() => undefined); // it may be nobody's any more when it rejects
  signal.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
