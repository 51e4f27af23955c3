/** Locks of unique tasks in the embedded database: rows, and the rules of `unique-ledger.ts`. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import type { UniqueMode, UniqueRule } from "../../protocol/unique.ts";
import { newId } from "../../shared/ids.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { Outgoing, PublishOptions } from "../broker.ts";
import { BrokerRefusedError } from "../errors.ts";
import { priorityStep } from "../priority.ts";
import { lockOf, UniqueLedger, type UniqueRow, type UniqueRows } from "../unique-ledger.ts";
import { freeingStep, oneQueueOnly, underId, type UniqueAnswer, type UniqueLock, type Uniques, type UniqueStep } from "../uniques.ts";
import { LeaseRows } from "./lease-rows.ts";
import { type MessageRow, MessageRows } from "./message-rows.ts";

/** A row of `parked`. */
interface Parked {
  readonly message: number;
  readonly due: number;
}

interface LockRow {
  readonly name: string;
  readonly mode: string;
  readonly task: string;
  readonly queue: string;
  readonly since: number;
  readonly until: number;
  readonly ttl: number;
  readonly worker: string | null;
  readonly message: number | null;
  readonly due: number | null;
  readonly next: string | null;
}

export class SqliteUniques implements Uniques {
  readonly #location: string;
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;
  readonly #timing: { readonly timeoutMs: number };
  readonly #ledger: UniqueLedger<Parked>;

  constructor(location: string, file: SqliteFile, timing: { readonly timeoutMs: number }) {
    this.#location = location;
    this.#file = file;
    this.#timing = timing;
    this.#messages = new MessageRows(file);
    this.#ledger = new UniqueLedger(new SqliteUniqueRows(file, this.#messages));
  }

  async publish({ message, exchange, routingKey, unique }: Outgoing, { signal }: PublishOptions = {}): Promise<UniqueAnswer> {
    const taskId = String(message.headers["id"]);
    const text = encodeEnvelope(message, { exchange, routingKey }, newId());
    const step = priorityStep(message.properties.priority);
    const answer = await this.#file.write(
      () => {
        const queues = this.#messages.route(exchange, routingKey);
        const [queue] = queues;
        if (queue === undefined || queues.length > 1) throw new BrokerRefusedError(this.#location, oneQueueOnly(queues.length));
        const now = this.#file.clock.now();
        this.#file.sql("unique.forget").run(now);
        const posted = { text, exchange: "", routingKey: queue, step };
        const rule = unique as UniqueRule; // the caller has looked
        return this.#ledger.publish(
          {
            taskId,
            rule,
            queue,
            textFor: (id) => underId(text, taskId, id),
            push: () => void this.#messages.post([posted]),
            park: (due) => ({ message: this.#messages.postParked(posted, due), due }),
          },
          now,
        );
      },
      { signal, timeoutMs: this.#timing.timeoutMs },
    );
    this.#file.bell.ring("ready");
    return answer;
  }

  async step(steps: readonly UniqueStep[]): Promise<void> {
    if (steps.length === 0) return;
    await this.#file.write(() => {
      for (const step of steps) this.stepNow(step);
    }, this.#timing);
    this.#file.bell.ring("ready");
  }

  /** In a transaction. */
  stepNow(step: UniqueStep): void {
    this.#ledger.step(step, this.#file.clock.now());
  }

  async list({ limit, queue }: { readonly limit: number; readonly queue?: string | undefined }): Promise<readonly UniqueLock[]> {
    return await this.#file.read(() => {
      const rows = this.#file.sql("unique.list").all(this.#file.clock.now(), queue ?? null, limit) as LockRow[];
      return rows.map((row) => lockOf(rowOf(row)));
    }, this.#timing);
  }

  async break(name: string): Promise<string | undefined> {
    const held = await this.#file.write(() => this.#ledger.break(name, this.#file.clock.now()), this.#timing);
    this.#file.bell.ring("ready");
    return held;
  }
}

/** Of a message that no worker ends any more; in a transaction. */
export function freeLockOf(file: SqliteFile, messages: MessageRows, envelope: string | Uint8Array): void {
  const step = freeingStep(envelope, "");
  if (step !== undefined) new UniqueLedger(new SqliteUniqueRows(file, messages)).step(step, file.clock.now());
}

class SqliteUniqueRows implements UniqueRows<Parked> {
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;
  readonly #leases: LeaseRows;

  constructor(file: SqliteFile, messages: MessageRows) {
    this.#file = file;
    this.#messages = messages;
    this.#leases = new LeaseRows(file);
  }

  get(name: string): UniqueRow<Parked> | undefined {
    const row = this.#file.sql("unique.get").get(name) as LockRow | undefined;
    return row && rowOf(row);
  }

  put({ name, mode, taskId, queue, since, until, ttlMs, worker, parked, nextTaskId }: UniqueRow<Parked>): void {
    const { message = null, due = null } = parked ?? {};
    this.#file.sql("unique.put").run(name, mode, taskId, queue, since, until, ttlMs, worker ?? null, message, due, nextTaskId ?? null);
  }

  delete(name: string): void {
    this.#file.sql("unique.delete").run(name);
  }

  isAlive(worker: string): boolean {
    const lease = this.#leases.find(worker);
    return lease?.lost === 0 && lease.ends > this.#file.clock.monotonic();
  }

  replaceParked(ref: Parked, text: string, dueAt: number): Parked | undefined {
    const row = this.#take(ref);
    if (row === undefined) return undefined;
    this.#messages.rewrite(row.message, text);
    this.#messages.park(dueAt, { ...row, bytes: Buffer.byteLength(text) });
    return { message: row.message, due: dueAt };
  }

  release(ref: Parked): boolean {
    const row = this.#take(ref);
    if (row !== undefined) this.#messages.toBack(row);
    return row !== undefined;
  }

  #take({ due, message }: Parked): MessageRow | undefined {
    return this.#file.sql("unique.takeParked").get(due, message) as MessageRow | undefined;
  }
}

function rowOf({ name, mode, task, queue, since, until, ttl, worker, message, due, next }: LockRow): UniqueRow<Parked> {
  return {
    name,
    mode: mode as UniqueMode, // written by `put` alone
    taskId: task,
    queue,
    since,
    until,
    ttlMs: ttl,
    worker: worker ?? undefined,
    parked: message === null || due === null ? undefined : { message, due },
    nextTaskId: next ?? undefined,
  };
}
