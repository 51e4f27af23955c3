-- Batches: what each is and its counts, how its members ended by their places, who added which, and what is due.

CREATE TABLE batches (
  batch     INTEGER PRIMARY KEY,
  id        TEXT NOT NULL UNIQUE,
  document  TEXT NOT NULL,
  events    TEXT NOT NULL,               -- those that become due, with spaces between
  parent    TEXT,
  place     INTEGER,                     -- in its parent
  places    INTEGER NOT NULL DEFAULT 0,  -- given out
  withdrawn INTEGER NOT NULL DEFAULT 0,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed    INTEGER NOT NULL DEFAULT 0,
  dead      INTEGER NOT NULL DEFAULT 0,
  created   REAL NOT NULL,
  seen      REAL NOT NULL,
  sealed    REAL,
  completed REAL,
  success   REAL,
  died      REAL,
  cancelled REAL,
  lives     REAL NOT NULL,
  expires   REAL NOT NULL
) STRICT;
CREATE INDEX batches_by_expiry ON batches (expires);
CREATE INDEX batches_waiting ON batches (seen) WHERE sealed IS NOT NULL AND completed IS NULL;
CREATE INDEX batches_by_parent ON batches (parent, place) WHERE parent IS NOT NULL;

-- A place without a row is pending.
CREATE TABLE batch_ends (
  batch INTEGER NOT NULL,
  place INTEGER NOT NULL,
  state INTEGER NOT NULL,                -- 1 succeeded (or withdrawn), 2 failed, 3 dead
  PRIMARY KEY (batch, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch_adds (
  batch     INTEGER NOT NULL,
  adder     TEXT NOT NULL,
  sequence  INTEGER NOT NULL,
  first     INTEGER NOT NULL,
  size      INTEGER NOT NULL,
  confirmed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (batch, adder, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches_due (
  id    TEXT NOT NULL,
  event TEXT NOT NULL,
  since REAL NOT NULL,
  PRIMARY KEY (id, event)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER batch_removed AFTER DELETE ON batches BEGIN
  DELETE FROM batch_ends WHERE batch = old.batch;
  DELETE FROM batch_adds WHERE batch = old.batch;
  DELETE FROM batches_due WHERE id = old.id;
END;
