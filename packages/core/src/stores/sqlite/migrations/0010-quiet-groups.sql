-- What is known of a group beside its parts, for those who look after groups that have gone quiet.

ALTER TABLE group_counts ADD COLUMN members TEXT NOT NULL DEFAULT '';  -- a line each, by place
ALTER TABLE group_counts ADD COLUMN root TEXT NOT NULL DEFAULT '';
ALTER TABLE group_counts ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE group_counts ADD COLUMN look_at REAL NOT NULL DEFAULT 0;
ALTER TABLE group_counts ADD COLUMN seen INTEGER;                      -- parts at the last look
ALTER TABLE group_counts ADD COLUMN since REAL;
ALTER TABLE group_counts ADD COLUMN lost TEXT;                         -- it was given up: why
CREATE INDEX group_counts_to_look_at ON group_counts (look_at) WHERE due_until IS NULL;
