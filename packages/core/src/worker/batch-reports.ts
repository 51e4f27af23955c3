/**
 * Tells batches how their members ended, before the members' loans end: a crash in between runs a member again, and it
 * reports again what changes nothing. All reports of one turn of the event loop are one call for each batch.
 */
import { batchPlaceOf } from "../canvas/batch-member.ts";
import type { Settlement } from "../brokers/broker.ts";
import type { Batches, MemberEnd } from "../results/batches.ts";
import type { EndedRun, SettlementRules } from "./ended-run.ts";
import type { Outcome } from "./outcome.ts";
import { failureOf } from "./result-plan.ts";
import type { LoanlessSettlement } from "./settle.ts";

export interface BatchReport extends MemberEnd {
  readonly batchId: string;
}

/** undefined for what is no member, and for an end that is not final. */
export function planReport(
  outcome: Outcome,
  run: EndedRun,
  settlement: Settlement | LoanlessSettlement,
  rules: SettlementRules,
): BatchReport | undefined {
  const at = batchPlaceOf(run.received.message.headers);
  if (at === undefined) return undefined;
  if (outcome.kind === "succeeded" || outcome.kind === "ignored") return { ...at, state: "succeeded" };
  return failureOf(outcome, run, rules) === undefined ? undefined : { ...at, state: stateOf(settlement) };
}

/** Of a message that must not run. */
export function planRefusedReport({ received }: Pick<EndedRun, "received">, settlement: Settlement): BatchReport | undefined {
  const at = batchPlaceOf(received.message.headers);
  return at && { ...at, state: stateOf(settlement) };
}

const stateOf = (settlement: Settlement | LoanlessSettlement): "dead" | "failed" =>
  settlement.delivery !== undefined && settlement.end.kind === "deadLetter" ? "dead" : "failed";

interface Waiting {
  readonly report: BatchReport;
  resolve(): void;
  reject(error: unknown): void;
}

export class BatchReports {
  readonly #batches: Batches;
  /** Something has become due. */
  readonly #onDue: () => void;
  #waiting: Waiting[] = [];

  constructor(batches: Batches, onDue: () => void) {
    this.#batches = batches;
    this.#onDue = onDue;
  }

  /** Resolves once it is counted. May be repeated. */
  report(report: BatchReport, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ report, resolve, reject }) === 1) setImmediate(() => this.#flush(signal));
    });
  }

  #flush(signal: AbortSignal): void {
    const byBatch = new Map<string, Waiting[]>();
    for (const each of this.#waiting) {
      const those = byBatch.get(each.report.batchId);
      if (those === undefined) byBatch.set(each.report.batchId, [each]);
      else those.push(each);
    }
    this.#waiting = [];
    for (const [batchId, those] of byBatch) void this.#send(batchId, those, signal);
  }

  async #send(batchId: string, those: readonly Waiting[], signal: AbortSignal): Promise<void> {
    try {
      const isDue = await this.#batches.report(
        batchId,
        those.map(({ report }) => report),
        { signal },
      );
      for (const { resolve } of those) resolve();
      if (isDue) this.#onDue();
    } catch (error) {
      for (const { reject } of those) reject(error);
    }
  }
}
