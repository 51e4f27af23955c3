-- Whose queue the messages of a group are counted and purged with: that of its first message, by which the group is named.
ALTER TABLE aggregates ADD COLUMN queue INTEGER NOT NULL DEFAULT 0;
UPDATE aggregates SET queue = coalesce((SELECT id FROM queues WHERE queues.name = json_extract(aggregates.name, '$[0]')), 0);
CREATE INDEX aggregates_by_queue ON aggregates (queue);
