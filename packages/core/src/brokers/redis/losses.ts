/**
 * How often a message was lost with its worker, written at the very end of its envelope: `…, "lovage_losses": 2}`, and on loan, once
 * one that was lost before has begun: `…, "lovage_begun": true, "lovage_losses": 2}`.
 * Celery's readers ignore a key there, and kombu's own restore keeps it; a reader of ours sees by the last two bytes
 * whether there is one, so that the usual message costs nothing. Written by the sweep, and by a worker whose pool lost the child that ran it.
 */
const MARK = ', "lovage_losses": ';
const BEGUN = ', "lovage_begun": true';
const CLOSING_BRACE = 0x7d;
/** The marks, a number of at most six digits, and the brace. */
const TAIL_BYTES = BEGUN.length + MARK.length + 7;
const TAIL = /(, "lovage_begun": ?true)?, "lovage_losses": ?(\d{1,6})\}\s*$/;

export function readLosses(envelope: Uint8Array): number {
  const last = envelope.length - 1;
  const digit = envelope[last - 1];
  if (envelope[last] !== CLOSING_BRACE || digit === undefined || digit < 0x30 || digit > 0x39) return 0;
  return Number(TAIL.exec(tailOf(envelope))?.[2] ?? 0);
}

/** Whether one that was lost before has begun on this loan. */
export function readBegun(envelope: Uint8Array): boolean {
  return TAIL.exec(tailOf(envelope))?.[1] !== undefined;
}

/** The envelope with this count in place of the one it had. */
export function withLosses(envelope: string, losses: number, hasBegun = false): string {
  const bare = envelope.replace(TAIL, "}").trimEnd();
  return losses === 0 || !bare.endsWith("}") ? bare : `${bare.slice(0, -1)}${hasBegun ? BEGUN : ""}${MARK}${losses}}`;
}

function tailOf(envelope: Uint8Array): string {
  return String.fromCharCode(...envelope.subarray(Math.max(0, envelope.length - TAIL_BYTES)));
}
