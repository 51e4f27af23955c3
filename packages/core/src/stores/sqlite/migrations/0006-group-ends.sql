-- What is due for a group that is complete, and since when: it stays until it was done.

ALTER TABLE group_counts DROP COLUMN completed;
ALTER TABLE group_counts ADD COLUMN body TEXT NOT NULL DEFAULT '';     -- the signature to be called, as JSON
ALTER TABLE group_counts ADD COLUMN due_until REAL;                    -- NULL: not due; else until when it is somebody's to do
ALTER TABLE group_counts ADD COLUMN due_member TEXT;
ALTER TABLE group_counts ADD COLUMN due_root TEXT;
ALTER TABLE group_counts ADD COLUMN due_priority INTEGER;
CREATE INDEX group_counts_due ON group_counts (due_until) WHERE due_until IS NOT NULL;

ALTER TABLE group_counts ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;  -- kept, for counting them each time would take as long as there are many
UPDATE group_counts SET parts = (SELECT count(*) FROM group_parts WHERE group_parts.group_id = group_counts.group_id);
CREATE TRIGGER group_part_added AFTER INSERT ON group_parts BEGIN
  UPDATE group_counts SET parts = parts + 1 WHERE group_id = new.group_id;
END;
