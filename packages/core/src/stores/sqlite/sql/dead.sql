-- Messages that cannot or must not run any more.

-- name: bury
INSERT INTO dead (queue, id, message, step, bytes, task, reason, error, worker, at, losses, retries)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)

-- The newest of that id.
-- name: exhume
DELETE FROM dead WHERE number = (SELECT max(number) FROM dead WHERE queue = ?1 AND id = ?2) RETURNING message, step, bytes

-- All but the newest ?2 of a queue.
-- name: cut
DELETE FROM dead WHERE queue = ?1
  AND number <= (SELECT number FROM dead WHERE queue = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)
RETURNING message

-- name: page
SELECT d.number, d.id, d.task, d.reason, d.error, d.worker, d.at, d.losses, d.retries, m.envelope
FROM dead AS d CROSS JOIN messages AS m ON m.id = d.message
WHERE d.queue = ?1 AND d.number < ?2
ORDER BY d.number DESC LIMIT ?3

-- name: purge
DELETE FROM dead WHERE queue = ?1 RETURNING message
