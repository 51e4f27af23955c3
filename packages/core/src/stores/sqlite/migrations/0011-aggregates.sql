-- Messages that wait to become one: those of a group, in the order of their numbers. A row of messages that is named here is
-- in no queue. `due` is ms since 1970, and nothing is late that a later message of the group says.
CREATE TABLE aggregated (
  name    TEXT NOT NULL,
  message INTEGER NOT NULL,
  due     REAL NOT NULL,
  PRIMARY KEY (name, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX aggregated_by_due ON aggregated (due);
