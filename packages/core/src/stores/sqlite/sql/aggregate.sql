-- Groups of messages that are to become one.

-- name: add
INSERT INTO aggregated (name, message, due) VALUES (?1, ?2, ?3)

-- name: count
SELECT count(*) AS count FROM aggregated WHERE name = ?1

-- name: due
SELECT name FROM aggregated WHERE due <= ?1 GROUP BY name ORDER BY min(due) LIMIT ?2

-- name: nextDue
SELECT min(due) AS due FROM aggregated WHERE due > ?1

-- name: first
SELECT message, envelope FROM aggregated JOIN messages ON messages.id = aggregated.message WHERE name = ?1 ORDER BY message LIMIT ?2

-- name: remove
DELETE FROM aggregated WHERE name = ?1 AND message = ?2
