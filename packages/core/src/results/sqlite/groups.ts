/** Groups as rows of the embedded database. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import { endGroup, registerPart } from "../../stores/sqlite/group-rows.ts";
import {
  DUE_MS, type DueGroup, type GroupLook, type GroupPart, type Groups, type GroupSizeWrite, QUIET, type QuietGroup,
} from "../groups.ts"; // prettier-ignore
import type { ResultText } from "../result-backend.ts";

export type Transaction = <T>(work: () => T, signal?: AbortSignal) => Promise<T>;

/** Expired groups that go with each new one: more than one, so that what has piled up melts away. */
const EXPIRED_PER_GROUP = 2;
/** Parts in one transaction. */
const SLICE = 500;

interface QuietRow {
  readonly group_id: string;
  readonly size: number | null;
  readonly added: number;
  readonly parts: number;
  readonly members: string;
  readonly body: string;
  readonly root: string;
  readonly priority: number;
  readonly seen: number | null;
  readonly since: number | null;
}

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
      const lookAt = this.#file.clock.now() + QUIET.newMs;
      for (const { groupId, size, expiresMs, members = [], body = "" } of sizes)
        this.#file.sql("group.begin").run(groupId, size, this.#expiry(expiresMs), members.join("\n"), body, lookAt);
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
      const now = this.#file.clock.now();
      answers.push(...(await this.#write(() => some.map((part) => registerPart(this.#file, part, now)), signal)));
    }
    if (parts.some(({ result }) => result !== undefined)) this.#file.bell.ring("results");
    return answers;
  }

  async parts(groupId: string): Promise<{ readonly parts: readonly ResultText[]; readonly expected: number }> {
    return await this.#read(() => {
      const rows = this.#file.sql("group.parts").all(groupId) as { part: ResultText }[];
      const count = this.#file.sql("group.expected").get(groupId) as { expected: number } | undefined;
      return { parts: rows.map(({ part }) => part), expected: count?.expected ?? 0 };
    });
  }

  async look(groupId: string, first: number, count: number): Promise<GroupLook | undefined> {
    return await this.#read(() => {
      const row = this.#file.sql("group.look").get(groupId) as
        | { expected: number; is_known: number; count: number; body: string }
        | undefined;
      if (row === undefined) return undefined;
      const parts = this.#file.sql("group.someParts").all(groupId, first, count) as { place: number; part: ResultText }[];
      return {
        expected: row.is_known === 1 ? row.expected : undefined,
        counted: row.count,
        parts: parts.map(({ place, part }) => ({ place: place === Number.MAX_SAFE_INTEGER ? undefined : place, part })),
        body: row.body,
      };
    });
  }

  async due(groupId: string): Promise<DueGroup | undefined> {
    type Row = { due_member: string; due_root: string; due_priority: number; body: string; lost: string | null };
    const row = await this.#read(() => this.#file.sql("group.due").get(groupId) as Row | undefined);
    if (row === undefined) return undefined;
    const { due_member: memberId, due_root: rootId, due_priority: priority, body, lost } = row;
    return { memberId, rootId, priority, body, ...(lost !== null && { lost }) };
  }

  async claimDue(limit: number): Promise<readonly string[]> {
    const now = this.#file.clock.now();
    const any = await this.#read(() => this.#file.sql("group.anyDue").get(now));
    if (any === undefined) return [];
    const rows = await this.#write(() => this.#file.sql("group.claimDue").all(now, now + DUE_MS.claimed, limit));
    return (rows as { group_id: string }[]).map(({ group_id: id }) => id);
  }

  /** A member has one part here, so there is none to spare. */
  async reopen(groupId: string): Promise<boolean> {
    return await this.#write(() => {
      this.#file.sql("group.reopen").run(groupId);
      return this.#file.sql("group.due").get(groupId) === undefined;
    });
  }

  async end(groupIds: readonly string[]): Promise<readonly boolean[]> {
    return await this.#write(() => groupIds.map((groupId) => endGroup(this.#file, groupId)));
  }

  async quiet(limit: number, firstMs = QUIET.firstMs): Promise<readonly QuietGroup[]> {
    const now = this.#file.clock.now();
    const rows = (): QuietRow[] => this.#file.sql("group.toLookAt").all(now, limit) as QuietRow[];
    if ((await this.#read(rows)).length === 0) return [];
    return await this.#write(() => rows().flatMap((row) => this.#lookAt(row, now, firstMs)));
  }

  #lookAt(row: QuietRow, now: number, firstMs: number): readonly QuietGroup[] {
    const { group_id: groupId, size, added, parts: counted, members, body, root: rootId, priority } = row;
    const isQuiet = row.seen === counted && row.since !== null;
    const since = isQuiet ? row.since : now;
    const quietMs = now - since;
    this.#file.sql("group.looked").run(groupId, counted, since, now + Math.min(Math.max(quietMs, firstMs), QUIET.lastMs));
    const expected = size === null ? undefined : size + added;
    return isQuiet ? [{ groupId, quietMs, counted, expected, members: members === "" ? [] : members.split("\n"), body, rootId, priority }] : []; // prettier-ignore
  }

  async giveUp(groupId: string, reason: string): Promise<boolean> {
    const until = this.#file.clock.now() + DUE_MS.completed;
    return await this.#write(() => Number(this.#file.sql("group.giveUp").run(groupId, reason, until).changes) === 1);
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
