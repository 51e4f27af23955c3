-- Fair queues: messages that are sorted by key wait here and not in `ready`, and are lent by turns among the keys.

-- In order of place within a key and priority step. A message keeps its place; what returns to the front of its queue has one that is below all others of its key.
CREATE TABLE keyed (
  queue   INTEGER NOT NULL,
  key     TEXT NOT NULL,             -- as protocol/fair-key.ts names it; '' for none
  step    INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  message INTEGER NOT NULL,
  losses  INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (queue, key, step, place, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX keyed_by_place ON keyed (queue, place);

-- Keys whose turn comes, in order of seat. A key that is paused or at its limit is not among them.
CREATE TABLE fair_ring (
  queue  INTEGER NOT NULL,
  seat   INTEGER NOT NULL,
  key    TEXT NOT NULL,
  credit INTEGER NOT NULL,           -- left of its turn; 0: its next turn is a whole one
  PRIMARY KEY (queue, seat),
  UNIQUE (queue, key)
) STRICT, WITHOUT ROWID;

-- What an operator has set; NULL is the default. `=` stands before a key; `*` are the defaults.
CREATE TABLE fair_settings (
  queue  INTEGER NOT NULL,
  field  TEXT NOT NULL,
  weight INTEGER,
  most   INTEGER,                    -- at once
  paused TEXT,                       -- by whom, why and when, as JSON
  PRIMARY KEY (queue, field)
) STRICT, WITHOUT ROWID;

-- When a worker last looked into a fair queue, ms since 1970.
CREATE TABLE fair_queues (
  queue  INTEGER PRIMARY KEY,
  looked REAL NOT NULL
) STRICT;

-- The key of a loan that was made from `keyed`: what runs is what is on loan.
ALTER TABLE loans ADD COLUMN key TEXT;
CREATE INDEX loans_by_key ON loans (queue, key) WHERE key IS NOT NULL;

CREATE TRIGGER fair_loan_ended AFTER DELETE ON loans WHEN old.key IS NOT NULL BEGIN
  INSERT OR IGNORE INTO fair_ring (queue, seat, key, credit)
  SELECT old.queue, coalesce((SELECT max(seat) FROM fair_ring WHERE queue = old.queue), 0) + 1, old.key, 0
  WHERE EXISTS (SELECT 1 FROM keyed WHERE queue = old.queue AND key = old.key);
END;
