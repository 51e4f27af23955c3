import { LovageError } from "../shared/errors.ts";

export type ProtocolProblem = "malformed" | "tooLarge" | "contentDisallowed" | "unsupported";

/** Bytes from outside that are not what they should be, or a value that cannot be written. The only error of this room. */
export class ProtocolError extends LovageError {
  readonly code = "PROTOCOL";
  readonly problem: ProtocolProblem;
  /** Where it is: `envelope.properties.priority`, `args[0].when`. */
  readonly where: string;

  constructor(problem: ProtocolProblem, where: string, message: string, options?: ErrorOptions) {
    super(`${where}: ${message}`, options);
    this.problem = problem;
    this.where = where;
  }
}
