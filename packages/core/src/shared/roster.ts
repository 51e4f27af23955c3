/**
 * The objects that are present now, in no order; each keeps its own place. For what comes and goes with every message.
 *
 * Not a Set or Map: V8 gives those a new table every few hundred changes, and a table that was left keeps the next one, and what both
 * last held, alive until a full collection. With a Map of loans all that belonged to a message outlived two collections and was
 * copied by each: a third of a worker's time.
 */
export interface RosterMember {
  /** Written by the roster: an index, -1 while it is in none. */
  place: number;
}

export class Roster<Member extends RosterMember> {
  readonly #members: Member[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** The member is in no roster yet. */
  add(member: Member): void {
    member.place = this.#members.length;
    this.#members.push(member);
  }

  has(member: Member): boolean {
    return member.place >= 0 && this.#members[member.place] === member;
  }

  /** False when it was not there. */
  delete(member: Member): boolean {
    if (!this.has(member)) return false;
    const last = this.#members.pop() as Member;
    if (last !== member) {
      this.#members[member.place] = last;
      last.place = member.place;
    }
    member.place = -1;
    return true;
  }

  clear(): void {
    for (const member of this.#members) member.place = -1;
    this.#members.length = 0;
  }

  /** As they are now: what comes and goes meanwhile changes nothing. */
  [Symbol.iterator](): IterableIterator<Member> {
    return this.#members.slice().values();
  }
}
