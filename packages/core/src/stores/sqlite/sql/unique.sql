-- Locks of unique tasks.

-- name: get
SELECT name, mode, task, queue, since, until, ttl, worker, message, due, next FROM unique_locks WHERE name = ?1

-- name: put
INSERT OR REPLACE INTO unique_locks (name, mode, task, queue, since, until, ttl, worker, message, due, next)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)

-- name: delete
DELETE FROM unique_locks WHERE name = ?1

-- name: forget
DELETE FROM unique_locks WHERE name IN (SELECT name FROM unique_locks WHERE until <= ?1 LIMIT 100)

-- name: list
SELECT name, mode, task, queue, since, until, ttl, worker, message, due, next FROM unique_locks
WHERE until > ?1 AND (?2 IS NULL OR queue = ?2) ORDER BY until LIMIT ?3

-- name: takeParked
DELETE FROM parked WHERE due = ?1 AND message = ?2 RETURNING message, queue, step, place, losses, bytes
