-- The outbox: tasks that were written in a transaction of the application's own, and wait for the relay to publish them.
-- Lovage, schema 1. Apply it with `lovage outbox migrate`, or hand it to your own migrations. PostgreSQL 13 or newer.

CREATE TABLE lovage_outbox_schema (
  version    integer PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE SEQUENCE lovage_outbox_seq; -- its order is the order of insertion; no cache, or sessions would take numbers in advance

-- A row has its message in `envelope` (as Lovage writes it), or says with `task`, `args`, `kwargs` and `options` what is to be sent.
CREATE TABLE lovage_outbox (
  seq        bigint PRIMARY KEY, -- by the trigger
  lane       smallint NOT NULL,  -- by the trigger; rows of one key share a lane, and a lane has one relay at a time
  id         text NOT NULL DEFAULT gen_random_uuid()::text, -- of the task
  key        text,               -- rows of one key are published in the order of their insertion; null: in any
  task       text NOT NULL,
  args       json NOT NULL DEFAULT '[]',
  kwargs     json NOT NULL DEFAULT '{}',
  options    json NOT NULL DEFAULT '{}',
  envelope   text,
  attempts   integer NOT NULL DEFAULT 0, -- how often the broker refused this row while it took others
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX lovage_outbox_lane_seq ON lovage_outbox (lane, seq);
-- Rows come and go: vacuum by number, not by share of the table.
ALTER TABLE lovage_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What a relay locks while it publishes.
CREATE TABLE lovage_outbox_lane (
  lane     smallint PRIMARY KEY,
  retry_at timestamptz NOT NULL DEFAULT '-infinity' -- not before: the broker refused its first row
);
INSERT INTO lovage_outbox_lane (lane) SELECT generate_series(0, 63);

-- What cannot be published, and why. It stays until somebody decides: `lovage outbox retry`, `lovage outbox discard`.
CREATE TABLE lovage_outbox_aside (
  seq          bigint PRIMARY KEY,
  id           text NOT NULL,
  key          text,
  task         text NOT NULL,
  args         json NOT NULL,
  kwargs       json NOT NULL,
  options      json NOT NULL,
  envelope     text,
  created_at   timestamptz NOT NULL,
  reason       text NOT NULL,
  set_aside_at timestamptz NOT NULL DEFAULT now()
);

-- Gives a row its place. The first row with a key in a transaction also leaves a mark, as an advisory lock that everybody may share
-- and nobody waits for: "from this number on, rows may still come to light". It goes with the transaction, or with the savepoint.
CREATE FUNCTION lovage_outbox_place() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  low bigint;
BEGIN
  NEW.lane := hashtext(coalesce(NEW.key, NEW.id)) & 63;
  IF NEW.key IS NOT NULL AND coalesce(current_setting('lovage_outbox.low', true), '') = '' THEN
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO low FROM lovage_outbox_seq;
    PERFORM pg_advisory_xact_lock_shared((19574::bigint << 48) | low); -- 19574 tells our marks from locks of others
    PERFORM set_config('lovage_outbox.low', low::text, true);
  END IF;
  NEW.seq := nextval('lovage_outbox_seq'); -- after the mark: what is not marked yet has no number yet
  RETURN NEW;
END $$;
CREATE TRIGGER lovage_outbox_place BEFORE INSERT ON lovage_outbox FOR EACH ROW EXECUTE FUNCTION lovage_outbox_place();

-- Up to this number every row is there for all to see, or never will be: so rows of one key can be published in order even though
-- transactions end in another. The sequence is read before the marks: a transaction that marks later takes higher numbers.
CREATE FUNCTION lovage_outbox_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  high bigint;
  low  bigint;
BEGIN
  SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO high FROM lovage_outbox_seq;
  SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) INTO low
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = 19574
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
  RETURN least(high, low);
END $$;

-- Wakes the relays at the commit. Where so many transactions commit that notifications hold them up, drop it: relays also look by themselves.
CREATE FUNCTION lovage_outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('lovage_outbox', '');
  RETURN NULL;
END $$;
CREATE TRIGGER lovage_outbox_wake AFTER INSERT ON lovage_outbox FOR EACH STATEMENT EXECUTE FUNCTION lovage_outbox_wake();

INSERT INTO lovage_outbox_schema (version) VALUES (1);
