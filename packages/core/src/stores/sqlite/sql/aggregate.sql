-- Groups of messages that are to become one.

-- The first message says when its group is due.
-- name: begin
INSERT OR IGNORE INTO aggregates (name, due, queue) VALUES (?1, ?2, ?3)

-- name: end
DELETE FROM aggregates WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM aggregated WHERE aggregated.name = ?1)

-- name: add
INSERT INTO aggregated (name, message) VALUES (?1, ?2)

-- name: count
SELECT count(*) AS count FROM aggregated WHERE name = ?1

-- name: due
SELECT name FROM aggregates WHERE due <= ?1 ORDER BY due LIMIT ?2

-- name: nextDue
SELECT min(due) AS due FROM aggregates WHERE due > ?1

-- name: first
SELECT message, envelope FROM aggregated JOIN messages ON messages.id = aggregated.message WHERE name = ?1 ORDER BY message LIMIT ?2

-- name: remove
DELETE FROM aggregated WHERE name = ?1 AND message = ?2
