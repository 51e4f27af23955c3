-- Queues that workers leave alone.

-- name: add
INSERT OR REPLACE INTO pauses (queue, reason, by, at, until) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: forget
DELETE FROM pauses WHERE until <= ?1

-- name: count
SELECT count(*) AS count FROM pauses

-- name: remove
DELETE FROM pauses WHERE queue = ?1

-- name: list
SELECT queue, reason, by, at, until FROM pauses
