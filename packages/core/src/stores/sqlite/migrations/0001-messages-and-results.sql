-- The first schema: messages and the places they can be in, workers and their leases, results, fanout.
-- Invariant: a row of messages is named by exactly one row of ready, loans, parked or dead. The wide text is written
-- once and deleted once; what moves between the places is narrow.

-- A queue by name. Rows stay: other tables and open processes hold the number.
CREATE TABLE queues (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

-- The envelope as text or, from a foreign producer, as bytes. A new number is above all there are, and so is a place
-- at the back of a queue: no place is above its message's number.
CREATE TABLE messages (
  id       INTEGER PRIMARY KEY,
  envelope ANY NOT NULL
) STRICT;

-- Waiting to be taken, in order of place within a queue and priority step (0, 3, 6, 9; 0 is served first). What is
-- published has its number as its place; what returns to the front keeps its place or gets one below the first.
CREATE TABLE ready (
  queue   INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  message INTEGER NOT NULL,
  losses  INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (queue, step, place)
) STRICT, WITHOUT ROWID;

-- Lent to a worker. `take` numbers the reserve, so that a delivery of an earlier loan cannot end a later one.
CREATE TABLE loans (
  holder  INTEGER NOT NULL,
  take    INTEGER NOT NULL,
  message INTEGER NOT NULL,
  queue   INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  losses  INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (holder, take, message)
) STRICT, WITHOUT ROWID;

-- Kept aside until `due`, ms since 1970.
CREATE TABLE parked (
  due     REAL NOT NULL,
  message INTEGER NOT NULL,
  queue   INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  losses  INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (due, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_by_queue ON parked (queue);

-- Messages that cannot or must not run any more; the columns are those of DeadLetterRecord.
CREATE TABLE dead (
  number  INTEGER PRIMARY KEY AUTOINCREMENT,
  queue   INTEGER NOT NULL,
  id      TEXT NOT NULL,
  message INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  task    TEXT,
  reason  TEXT NOT NULL,
  error   TEXT NOT NULL,
  worker  TEXT NOT NULL,
  at      REAL NOT NULL,
  losses  INTEGER NOT NULL,
  retries INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_by_queue ON dead (queue); -- and by number within it
CREATE INDEX dead_by_id ON dead (queue, id);

-- A worker and its lease. A holder's number is never given twice: a worker that lost its lease gets a new one, so that
-- nothing it still holds can be settled. `ends` is by the machine's monotonic clock, in ms, which no change of the wall
-- clock moves; after a restart of the machine it lies further ahead than `duration`, which means that it has ended.
CREATE TABLE workers (
  holder   INTEGER PRIMARY KEY AUTOINCREMENT,
  name     TEXT NOT NULL UNIQUE,
  consumer TEXT,             -- the open broker that consumes under this name
  ends     REAL NOT NULL,
  duration REAL NOT NULL,
  lost     INTEGER NOT NULL  -- 1: swept, and the worker has not been told yet
) STRICT;

CREATE TABLE bindings (
  exchange TEXT NOT NULL,
  queue    TEXT NOT NULL,
  type     TEXT NOT NULL,
  key      TEXT NOT NULL,
  PRIMARY KEY (exchange, queue, type, key)
) STRICT, WITHOUT ROWID;

-- Fanout: read by whoever is subscribed, deleted a minute later.
CREATE TABLE broadcasts (
  number   INTEGER PRIMARY KEY AUTOINCREMENT,
  exchange TEXT NOT NULL,
  key      TEXT NOT NULL,
  envelope TEXT NOT NULL,
  at       REAL NOT NULL
) STRICT;

-- One row a task. Each store gives the row a new number, so that a watcher finds what is new above the last it saw.
CREATE TABLE results (
  number   INTEGER PRIMARY KEY,
  task     TEXT NOT NULL UNIQUE,
  state    TEXT NOT NULL,
  document ANY NOT NULL,
  expires  REAL
) STRICT;
CREATE INDEX results_by_expiry ON results (expires) WHERE expires IS NOT NULL;

-- The last number that a result was given. Counted here, because the row that has it may be gone.
CREATE TABLE result_numbers (
  last INTEGER NOT NULL
) STRICT;
INSERT INTO result_numbers (last) VALUES (0);
