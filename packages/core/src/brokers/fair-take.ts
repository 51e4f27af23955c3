/**
 * Takes up to `want` from several lists so that a long one starves no other: each gives at most its share of what is
 * still wanted, and what is left goes round again over those that gave all they were asked for. The first list rotates
 * with `turn`. `take` answers how many it took; fewer than asked means that the list has no more to give.
 * Returns how many were taken in all.
 */
export function takeFairly<List>(lists: readonly List[], want: number, turn: number, take: (list: List, atMost: number) => number): number {
  const first = lists.length === 0 ? 0 : turn % lists.length;
  let open = [...lists.slice(first), ...lists.slice(0, first)];
  let left = want;
  while (left > 0 && open.length > 0) {
    const share = Math.ceil(left / open.length);
    const full: List[] = [];
    for (const list of open) {
      const asked = Math.min(share, left);
      if (asked <= 0) break;
      const taken = take(list, asked);
      left -= taken;
      if (taken === asked) full.push(list);
    }
    open = full;
  }
  return Math.max(0, want) - Math.max(0, left);
}
