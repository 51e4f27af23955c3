-- Messages that wait to become one. A row of messages that is named here is in no queue.

-- The groups that hold any, and when each is due, ms since 1970.
CREATE TABLE aggregates (
  name TEXT PRIMARY KEY,
  due  REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX aggregates_by_due ON aggregates (due);

-- What they hold, in the order of the messages' numbers.
CREATE TABLE aggregated (
  name    TEXT NOT NULL,
  message INTEGER NOT NULL,
  PRIMARY KEY (name, message)
) STRICT, WITHOUT ROWID;
