-- Marks of what is not to run, in the order they were added: a mark that is added again gets a new number.

CREATE TABLE revoked (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  mark TEXT NOT NULL UNIQUE,
  at INTEGER NOT NULL
) STRICT;
