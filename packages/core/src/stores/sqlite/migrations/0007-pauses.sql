-- Queues that workers leave alone. Times are ms since 1970; `until` NULL has no end.

CREATE TABLE pauses (
  queue TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  by TEXT NOT NULL,
  at INTEGER NOT NULL,
  until INTEGER
) STRICT, WITHOUT ROWID;
