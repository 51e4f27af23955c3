/**
 * How often a message was lost with its worker, written at the very end of its envelope: `…, "lovage_losses": 2}`.
 * Celery's readers ignore a key there, and kombu's own restore keeps it; a reader of ours sees by the last two bytes
 * whether there is one, so that the usual message costs nothing. Written by the sweep, and by a worker whose pool lost the child that ran it.
 */
const MARK = ', "lovage_losses": ';
const CLOSING_BRACE = 0x7d;
/** The mark, a number of at most six digits, and the brace. */
const TAIL_BYTES = MARK.length + 7;

export function readLosses(envelope: Uint8Array): number {
  const last = envelope.length - 1;
  const digit = envelope[last - 1];
  if (envelope[last] !== CLOSING_BRACE || digit === undefined || digit < 0x30 || digit > 0x39) return 0;
  const tail = String.fromCharCode(...envelope.subarray(Math.max(0, last + 1 - TAIL_BYTES)));
  return Number(/, "lovage_losses": ?(\d{1,6})\}$/.exec(tail)?.[1] ?? 0);
}

/** The envelope with this count in place of the one it had. */
export function withLosses(envelope: string, losses: number): string {
  const bare = envelope.replace(/, "lovage_losses": ?\d{1,6}\}\s*$/, "}").trimEnd();
  return losses === 0 || !bare.endsWith("}") ? bare : `${bare.slice(0, -1)}${MARK}${losses}}`;
}
