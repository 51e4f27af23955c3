/** What a caller holds of a chord: the result of its body, and those of its header. */
import type { Lovage } from "./app.ts";
import { AsyncResult, type ResultSource } from "./async-result.ts";
import type { AnyResult, GroupResult } from "./group-result.ts";

/** How far a header has come. */
export interface HeaderCounts {
  readonly total: number;
  readonly succeeded: number;
  /** FAILURE or REVOKED. */
  readonly failed: number;
}

export class ChordResult<Result = unknown, Header extends readonly unknown[] = readonly unknown[]> extends AsyncResult<Result> {
  /** The results of the members, in the order they were written. */
  readonly header: GroupResult<Header>;

  constructor(app: Lovage, id: string, header: GroupResult, source?: ResultSource, parent?: AnyResult) {
    super(app, id, source, parent ?? header);
    this.header = header as unknown as GroupResult<Header>; // as the chord was typed
  }

  /** One read of the header's results. */
  async counts(): Promise<HeaderCounts> {
    const states = (await this.header.info()).map((document) => document?.state);
    const succeeded = states.filter((state) => state === "SUCCESS").length;
    const failed = states.filter((state) => state === "FAILURE" || state === "REVOKED").length;
    return { total: states.length, succeeded, failed };
  }
}
