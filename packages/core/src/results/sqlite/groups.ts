/** Groups as rows of the embedded database. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import { storeResults } from "../../stores/sqlite/result-rows.ts";
import type { GroupPart, Groups, GroupSizeWrite, ResultText } from "../result-backend.ts";

export type Transaction = <T>(work: () => T, signal?: AbortSignal) => Promise<T>;

/** Expired groups that go with each new one: more than one, so that what has piled up melts away. */
const EXPIRED_PER_GROUP = 2;
/** Parts in one transaction. */
const SLICE = 500;

export class SqliteGroups implements Groups {
  readonly #file: SqliteFile;
  readonly #write: Transaction;
  readonly #read: Transaction;

  constructor(file: SqliteFile, write: Transaction, read: Transaction) {
    this.#file = file;
    this.#write = write;
    this.#read = read;
  }

  async begin(sizes: readonly GroupSizeWrite[]): Promise<void> {
    await this.#write(() => {
      for (const { groupId, size, expiresMs } of sizes) this.#file.sql("group.begin").run(groupId, size, this.#expiry(expiresMs));
      this.#expire(sizes.length);
    });
  }

  async extend(groupId: string, count: number, expiresMs: number | undefined): Promise<void> {
    await this.#write(() => void this.#file.sql("group.extend").run(groupId, count, this.#expiry(expiresMs)));
  }

  async addParts(parts: readonly GroupPart[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<readonly boolean[]> {
    const answers: boolean[] = [];
    for (let from = 0; from < parts.length; from += SLICE) {
      const some = parts.slice(from, from + SLICE);
      answers.push(...(await this.#write(() => some.map((part) => this.#add(part)), signal)));
    }
    if (parts.some(({ result }) => result !== undefined)) this.#file.bell.ring("results");
    return answers;
  }

  #add({ groupId, taskId, index, part, result, expiresMs }: GroupPart): boolean {
    if (result !== undefined) storeResults(this.#file, [result], this.#file.clock.now());
    this.#file.sql("group.touch").run(groupId, this.#expiry(expiresMs));
    this.#file.sql("group.add").run(groupId, taskId, index ?? Number.MAX_SAFE_INTEGER, isSuccess(part, taskId) ? 1 : 0, part);
    return Number(this.#file.sql("group.complete").run(groupId, taskId).changes) === 1;
  }

  async parts(groupId: string): Promise<{ readonly parts: readonly ResultText[]; readonly expected: number }> {
    return await this.#read(() => {
      const rows = this.#file.sql("group.parts").all(groupId) as { part: ResultText }[];
      const count = this.#file.sql("group.expected").get(groupId) as { expected: number } | undefined;
      return { parts: rows.map(({ part }) => part), expected: count?.expected ?? 0 };
    });
  }

  async reopen(groupId: string): Promise<void> {
    await this.#write(() => void this.#file.sql("group.reopen").run(groupId));
  }

  async end(groupIds: readonly string[]): Promise<void> {
    await this.#write(() => {
      for (const groupId of groupIds) {
        this.#file.sql("group.end").run(groupId);
        this.#file.sql("group.forget").run(groupId);
      }
    });
  }

  async save(groupId: string, document: ResultText, expiresMs: number | undefined): Promise<void> {
    await this.#write(() => {
      this.#file.sql("group.save").run(groupId, document, this.#expiry(expiresMs));
      this.#expire(1);
    });
  }

  async restore(groupId: string): Promise<ResultText | undefined> {
    const now = this.#file.clock.now();
    return await this.#read(() => (this.#file.sql("group.restore").get(groupId, now) as { document: ResultText } | undefined)?.document);
  }

  async forget(groupIds: readonly string[]): Promise<void> {
    await this.#write(() => {
      for (const groupId of groupIds) this.#file.sql("group.forget").run(groupId);
    });
  }

  #expire(count: number): void {
    const now = this.#file.clock.now();
    this.#file.sql("group.expire").run(now, EXPIRED_PER_GROUP * count);
    this.#file.sql("group.expireSaved").run(now, EXPIRED_PER_GROUP * count);
  }

  #expiry(expiresMs: number | undefined): number | null {
    return expiresMs === undefined ? null : this.#file.clock.now() + expiresMs;
  }
}

/** The state stands right behind the id, whatever the serializer. */
function isSuccess(part: ResultText, taskId: string): boolean {
  const text = typeof part === "string" ? part : Buffer.from(part).toString("latin1");
  const end = text.indexOf(taskId) + taskId.length;
  const at = text.indexOf("SUCCESS", end);
  return at >= 0 && at - end < 8;
}
