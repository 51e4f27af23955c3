-- Locks of unique tasks. A lock is made together with its message.
CREATE TABLE unique_locks (
  name    TEXT PRIMARY KEY,
  mode    TEXT NOT NULL,             -- as protocol/unique.ts names it
  task    TEXT NOT NULL,             -- id of the task that holds it
  queue   TEXT NOT NULL,
  since   REAL NOT NULL,             -- ms since 1970, as the two below
  until   REAL NOT NULL,
  ttl     REAL NOT NULL,
  worker  TEXT,                      -- that runs it without a loan: the lock ends with its lease
  message INTEGER,                   -- what is parked under the lock, and when that is due
  due     REAL,
  next    TEXT                       -- id of the task that waits for its turn
) STRICT, WITHOUT ROWID;
CREATE INDEX unique_locks_until ON unique_locks (until);
