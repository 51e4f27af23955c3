/**
 * When the death of a worker counts against a message that it held. The first always does: nobody knows which of all that it held
 * killed it. From then on the message is a suspect, and only a beginning counts: the worker says so before it lets a suspect begin
 * (`Checkpoints.begin`), and one that merely waited beside the killer keeps its count, however often that happens.
 * A large one may kill by being read, before anything could be said: each of its losses counts, begun or not.
 */
const LARGE_BYTES = 1024 * 1024;

export interface HeldMessage {
  readonly losses: number;
  /** Its worker said so; of a first delivery it is not asked. */
  readonly hasBegun: boolean;
  /** Of its envelope. */
  readonly bytes: number;
}

/** Its losses when the worker that held it is gone. */
export function afterLoss({ losses, hasBegun, bytes }: HeldMessage): number {
  return losses === 0 || hasBegun || bytes > LARGE_BYTES ? losses + 1 : losses;
}
