/**
 * The rotation of a fair queue, pure: which keys have a message taken, and in which order they stand afterwards.
 *
 * A key whose turn it is gives as many messages as its weight, then goes to the end. One that has none left, is paused or is at its
 * limit leaves the ring at once. `fair-reserve.lua` does the same in Redis; the conformance suite holds both to one behaviour.
 */

/** A key in the ring. */
export interface Seat {
  readonly weight: number;
  /** Left of the turn that has begun; 0: its next turn is a whole one. */
  credit: number;
  /** Messages waiting in its line. */
  waiting: number;
  /** How many of them may be lent now, by its limit; 0 when it is paused. */
  open: number;
}

export interface Turns<S> {
  /** What stays in front of the ring, in order. */
  readonly front: readonly S[];
  /** What goes behind those that were not asked, in order. */
  readonly back: readonly S[];
  /** What leaves the ring. */
  readonly gone: readonly S[];
}

/**
 * @param line the first seats of the ring: all of them, or at least `want`
 * @param isAll there are no others, so that who had a turn may have another
 * @param lend takes the next message of a seat; false: there is no room for it, and it stays
 */
export function takeTurns<S extends Seat>(line: readonly S[], isAll: boolean, want: number, lend: (seat: S) => boolean): Turns<S> {
  const queue = [...line];
  const back: S[] = [];
  const gone: S[] = [];
  let at = 0;
  let left = want;
  while (left > 0 && at < queue.length) {
    const seat = queue[at] as S; // within the array
    if (seat.open > 0) {
      if (!lend(seat)) break;
      seat.credit = (seat.credit > 0 ? Math.min(seat.credit, seat.weight) : seat.weight) - 1;
      seat.waiting -= 1;
      seat.open -= 1;
      left -= 1;
      if (seat.open > 0 && seat.credit > 0) continue;
    }
    at += 1;
    if (seat.open > 0) (isAll ? queue : back).push(seat);
    else {
      seat.credit = 0;
      gone.push(seat);
    }
  }
  return { front: queue.slice(at), back, gone };
}
