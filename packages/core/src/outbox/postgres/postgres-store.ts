/**
 * The outbox in PostgreSQL. A claim is a transaction that holds lanes (`FOR UPDATE SKIP LOCKED`) until its rows are published and deleted:
 * when the relay dies its connection does, and the lanes are free at once. What a lane holds back until it is sure of the order is told
 * by `lovage_outbox_horizon` (migrations/0001-outbox.sql).
 */
import { sleep, type Clock } from "../../shared/clock.ts";
import { missingMigrations } from "../migrations.ts";
import type { AsideRow, Claim, ClaimLimits, ClaimOutcome, Nothing, OutboxRow, OutboxStatus, OutboxStore, Verdict } from "../store.ts";
import { PgLink, type NewPgClient } from "./client.ts";

export interface PostgresStoreOptions {
  readonly location: string;
  readonly newClient: NewPgClient;
  readonly clock: Clock;
  /** A claim that stands still for so long is ended by the server: its relay is frozen, or the network is cut. */
  readonly claimMs: number;
}

/** Of 64: several relays share the work, and one has few rounds. */
const LANES = 16;
const REFUSED_PAUSE = "1 second";
const REASON_MAX = 500;

/** READ COMMITTED, whatever the default is: each statement must see what was committed before it began. */
const BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED";

const TAKE_LANES = `
  SELECT l.lane FROM lovage_outbox_lane l
  WHERE l.retry_at <= clock_timestamp() AND EXISTS (SELECT FROM lovage_outbox o WHERE o.lane = l.lane)
  ORDER BY random() LIMIT ${LANES} FOR UPDATE OF l SKIP LOCKED`;

/** The first rows of each lane by the index, whatever their number; then as many as fit. */
const READ_ROWS = `
  SELECT seq, id, key, task, args::text, kwargs::text, options::text, envelope, attempts, created_at FROM (
    SELECT o.*, sum(o.bytes) OVER (ORDER BY o.seq) - o.bytes AS bytes_before
    FROM unnest($1::smallint[]) AS l(lane)
    CROSS JOIN LATERAL (
      SELECT r.seq::float8, r.id, r.key, r.task, r.args, r.kwargs, r.options, r.envelope, r.attempts,
        extract(epoch FROM r.created_at)::float8 * 1000 AS created_at,
        coalesce(octet_length(r.envelope), 0) + pg_column_size(r.args) + pg_column_size(r.kwargs) + pg_column_size(r.options) AS bytes
      FROM lovage_outbox r
      WHERE r.lane = l.lane AND (r.key IS NULL OR r.seq <= $2)
      ORDER BY r.lane, r.seq LIMIT $3
    ) o
  ) fitting WHERE bytes_before < $4 ORDER BY seq`;

const SET_ASIDE = `
  WITH gone AS (DELETE FROM lovage_outbox WHERE seq = ANY($1::bigint[]) RETURNING *)
  INSERT INTO lovage_outbox_aside (seq, id, key, task, args, kwargs, options, envelope, created_at, reason)
  SELECT g.seq, g.id, g.key, g.task, g.args, g.kwargs, g.options, g.envelope, g.created_at, v.reason
  FROM gone g JOIN unnest($1::bigint[], $2::text[]) AS v(seq, reason) ON v.seq = g.seq`;

const PUT_OFF = `
  WITH refused AS (
    UPDATE lovage_outbox SET attempts = attempts + CASE WHEN seq = ANY($2::bigint[]) THEN 1 ELSE 0 END WHERE seq = ANY($1::bigint[]) RETURNING lane
  )
  UPDATE lovage_outbox_lane SET retry_at = clock_timestamp() + interval '${REFUSED_PAUSE}' WHERE lane IN (SELECT lane FROM refused)`;

const STATUS = `
  SELECT count(*)::float8 AS waiting,
    coalesce(extract(epoch FROM clock_timestamp() - min(created_at))::float8 * 1000, 0) AS lag_ms,
    count(*) FILTER (WHERE key IS NOT NULL AND seq > (SELECT $1::bigint))::float8 AS held_back,
    (SELECT count(*)::float8 FROM lovage_outbox_aside) AS set_aside
  FROM lovage_outbox`;

export class PostgresStore implements OutboxStore {
  readonly location: string;
  readonly #clock: Clock;
  readonly #work: PgLink;
  /** For questions, so that they are no part of a claim. */
  readonly #questions: PgLink;
  #isRung = false;
  #wake: (() => void) | undefined;

  constructor(options: PostgresStoreOptions) {
    const { location, newClient } = options;
    this.location = location;
    this.#clock = options.clock;
    const ring = (): void => {
      this.#isRung = true;
      this.#wake?.();
    };
    this.#work = new PgLink({
      location,
      newClient,
      setUp: `SET idle_in_transaction_session_timeout = ${Math.ceil(options.claimMs)}; LISTEN lovage_outbox`,
      notified: ring,
      broken: ring, // whoever waits finds out
    });
    this.#questions = new PgLink({ location, newClient });
  }

  async claim(limits: ClaimLimits): Promise<Claim | Nothing> {
    this.#isRung = false;
    const begun = await this.#work.query(`${BEGIN}; SELECT lovage_outbox_horizon()::float8 AS horizon`);
    const horizon = (begun as unknown as readonly { rows: { horizon: number }[] }[])[1]?.rows[0]?.horizon; // one result a statement
    const lanes = (await this.#work.query(TAKE_LANES)).rows.map((row) => row["lane"]);
    const found =
      lanes.length === 0
        ? []
        : (await this.#work.query(READ_ROWS, [lanes, horizon, Math.ceil(limits.rows / lanes.length), limits.bytes])).rows;
    if (found.length === 0) {
      await this.#work.query("ROLLBACK");
      return { kind: "nothing", isHeldBack: lanes.length > 0 };
    }
    return {
      kind: "claim",
      rows: found.map(readRow),
      settle: (outcome) => this.#settle(outcome),
      release: async () => void (await this.#work.query("ROLLBACK").catch(() => undefined)), // the connection is dropped where it fails
    };
  }

  async #settle({ published, aside, refused }: ClaimOutcome): Promise<void> {
    if (published.length > 0) await this.#work.query("DELETE FROM lovage_outbox WHERE seq = ANY($1::bigint[])", [published]);
    if (aside.length > 0) await this.#work.query(SET_ASIDE, [seqsOf(aside), aside.map(({ reason }) => storable(reason))]);
    if (refused.length > 0) await this.#work.query(PUT_OFF, [seqsOf(refused), seqsOf(refused.filter((each) => each.isItsFault))]);
    await this.#work.query("COMMIT");
  }

  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    if (this.#isRung) return;
    const rung = new AbortController();
    this.#wake = () => rung.abort();
    const either = AbortSignal.any([signal, rung.signal]);
    await sleep(this.#clock, maxMs, either).catch(() => undefined);
    this.#wake = undefined;
  }

  async status(): Promise<OutboxStatus> {
    const horizon = (await this.#questions.query("SELECT lovage_outbox_horizon()::text AS horizon")).rows[0]?.["horizon"];
    const row = (await this.#questions.query(STATUS, [horizon])).rows[0] as Record<string, number>; // an aggregate has one row
    return {
      waiting: row["waiting"] as number,
      lagMs: Math.max(0, row["lag_ms"] as number),
      heldBack: row["held_back"] as number,
      setAside: row["set_aside"] as number,
    };
  }

  async listAside(limit: number): Promise<readonly AsideRow[]> {
    const text = `
      SELECT seq::float8, id, key, task, reason, extract(epoch FROM created_at)::float8 * 1000 AS created_at,
        extract(epoch FROM set_aside_at)::float8 * 1000 AS set_aside_at
      FROM lovage_outbox_aside ORDER BY seq LIMIT $1`;
    return (await this.#questions.query(text, [limit])).rows.map((row) => ({
      seq: row["seq"] as number,
      id: row["id"] as string,
      key: row["key"] as string | null,
      task: row["task"] as string,
      reason: row["reason"] as string,
      createdAt: row["created_at"] as number,
      setAsideAt: row["set_aside_at"] as number,
    }));
  }

  async retryAside(ids: readonly string[] | "all"): Promise<number> {
    const text = `
      WITH back AS (DELETE FROM lovage_outbox_aside WHERE $1::text[] IS NULL OR id = ANY($1) RETURNING *)
      INSERT INTO lovage_outbox (id, key, task, args, kwargs, options, envelope, created_at)
      SELECT id, key, task, args, kwargs, options, envelope, created_at FROM back ORDER BY seq`;
    return (await this.#questions.query(text, [ids === "all" ? null : ids])).rowCount ?? 0;
  }

  async discardAside(which: readonly string[] | { readonly olderThanMs: number }): Promise<number> {
    const [where, value] =
      "olderThanMs" in which
        ? ["set_aside_at < now() - $1 * interval '1 millisecond'", which.olderThanMs]
        : ["id = ANY($1::text[])", which];
    return (await this.#questions.query(`DELETE FROM lovage_outbox_aside WHERE ${where}`, [value])).rowCount ?? 0;
  }

  async migrate(): Promise<readonly number[]> {
    const { query } = { query: (text: string, values?: readonly unknown[]) => this.#questions.query(text, values) };
    await query("BEGIN");
    await query("SELECT pg_advisory_xact_lock(19574, 1)"); // one at a time
    const isThere = (await query("SELECT to_regclass('lovage_outbox_schema') IS NOT NULL AS there")).rows[0]?.["there"] === true;
    const version = isThere ? (await query("SELECT max(version) AS version FROM lovage_outbox_schema")).rows[0]?.["version"] : undefined;
    const missing = missingMigrations("postgres", version as number | undefined, this.location);
    for (const { sql } of missing) await query(sql);
    await query("COMMIT");
    return missing.map((migration) => migration.version);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wake?.();
    await Promise.all([this.#work.close(), this.#questions.close()]);
  }
}

function readRow(row: Readonly<Record<string, unknown>>): OutboxRow {
  return {
    seq: row["seq"] as number,
    id: row["id"] as string,
    key: row["key"] as string | null,
    task: row["task"] as string,
    args: row["args"] as string,
    kwargs: row["kwargs"] as string,
    options: row["options"] as string,
    envelope: row["envelope"] as string | null,
    attempts: row["attempts"] as number,
    createdAt: row["created_at"] as number,
  };
}

function seqsOf(verdicts: readonly Verdict[]): number[] {
  return verdicts.map(({ seq }) => seq);
}

/** PostgreSQL's texts hold no zero bytes. */
function storable(reason: string): string {
  return reason.replaceAll("\0", "").slice(0, REASON_MAX);
}
