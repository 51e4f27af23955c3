-- Limits for all workers: what they allow, how far each is, who runs under them, and who waits. A message that waits is named by a
-- row of limit_waiting and by no other place. Lists of limits are texts with form feeds between. Times are ms since 1970.

-- `d:` and a name: as the code says; `s:` and an id: as was set by hand.
CREATE TABLE limit_specs (
  field TEXT PRIMARY KEY,
  spec  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What is long over is removed as time goes on.
CREATE TABLE limit_tats (
  id  TEXT PRIMARY KEY,
  tat REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX limit_tats_by_time ON limit_tats (tat);

CREATE TABLE limit_running (
  id      TEXT PRIMARY KEY,
  running INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Of a worker that is gone, they are taken away with its lease.
CREATE TABLE limit_holds (
  worker TEXT NOT NULL,
  hold   TEXT NOT NULL,
  places TEXT NOT NULL,
  PRIMARY KEY (worker, hold)
) STRICT, WITHOUT ROWID;

-- Starts that are kept for messages that are ready again.
CREATE TABLE limit_kept (
  task   TEXT PRIMARY KEY,
  start  REAL NOT NULL,
  places TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX limit_kept_by_start ON limit_kept (start);

CREATE TABLE limit_waiting (
  number  INTEGER PRIMARY KEY,
  queue   INTEGER NOT NULL,
  id      TEXT NOT NULL,        -- the limit under which it waits
  since   REAL NOT NULL,
  ordinal INTEGER NOT NULL,
  task    TEXT NOT NULL,
  limits  TEXT NOT NULL,
  expires REAL,
  message INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  losses  INTEGER NOT NULL,
  bytes   INTEGER NOT NULL
) STRICT;
CREATE INDEX limit_waiting_in_line ON limit_waiting (queue, id, since, ordinal, number);

-- When the first that waits under a limit may have its turn.
CREATE TABLE limit_turns (
  queue INTEGER NOT NULL,
  id    TEXT NOT NULL,
  turn  REAL NOT NULL,
  PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX limit_turns_by_time ON limit_turns (queue, turn);
