-- Groups: how many parts complete each, the parts by member, and groups that were saved by name.

CREATE TABLE group_counts (
  group_id  TEXT PRIMARY KEY,
  size      INTEGER,                    -- NULL: a part came first
  added     INTEGER NOT NULL DEFAULT 0,
  completed TEXT,                       -- the member whose part completed it
  expires   REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX group_counts_by_expiry ON group_counts (expires) WHERE expires IS NOT NULL;

CREATE TABLE group_parts (
  group_id   TEXT NOT NULL,
  place      INTEGER NOT NULL,          -- 2^53 - 1 stands behind all others
  task       TEXT NOT NULL,
  is_success INTEGER NOT NULL,
  part       ANY NOT NULL,
  PRIMARY KEY (group_id, task)
) STRICT, WITHOUT ROWID;

CREATE INDEX group_parts_in_order ON group_parts (group_id, place, task);

CREATE TABLE saved_groups (
  group_id TEXT PRIMARY KEY,
  document ANY NOT NULL,
  expires  REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX saved_groups_by_expiry ON saved_groups (expires) WHERE expires IS NOT NULL;

CREATE TRIGGER group_removed AFTER DELETE ON group_counts BEGIN
  DELETE FROM group_parts WHERE group_id = old.group_id;
END;
