-- Messages that cannot or must not run any more.

-- name: bury
INSERT INTO dead (queue, id, message, step, bytes, task, reason, error, worker, at, losses, retries, stack)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)

-- name: totals
SELECT count, bytes FROM dead_totals WHERE queue = ?1

-- name: oldest
SELECT number, message, at FROM dead WHERE queue = ?1 ORDER BY number LIMIT 1

-- Of the ?3 oldest those from before ?2.
-- name: expire
DELETE FROM dead WHERE at < ?2 AND number IN (SELECT number FROM dead WHERE queue = ?1 ORDER BY number LIMIT ?3) RETURNING message

-- name: remove
DELETE FROM dead WHERE number = ?1

-- The newest of that id.
-- name: exhume
DELETE FROM dead WHERE number = (SELECT max(number) FROM dead WHERE queue = ?1 AND id = ?2) RETURNING message, step, bytes, reason

-- name: get
SELECT d.number, d.id, d.task, d.reason, d.error, d.stack, d.worker, d.at, d.losses, d.retries, m.envelope
FROM dead AS d CROSS JOIN messages AS m ON m.id = d.message
WHERE d.number = (SELECT max(number) FROM dead WHERE queue = ?1 AND id = ?2)

-- A portion is what lies between two numbers. This finds where one of ?3 letters below ?2 ends; no row: it is the last.
-- name: floor
SELECT number FROM dead WHERE queue = ?1 AND number < ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3

-- Of the portion below ?2 and from ?3 what matches: reasons ?4 and tasks ?5 as JSON lists, since ?6, before ?7; null for any.
-- name: page
SELECT d.number, d.id, d.task, d.reason, d.error, d.stack, d.worker, d.at, d.losses, d.retries, m.envelope
FROM dead AS d CROSS JOIN messages AS m ON m.id = d.message
WHERE d.queue = ?1 AND d.number < ?2 AND d.number >= ?3
  AND (?4 IS NULL OR d.reason IN (SELECT value FROM json_each(?4))) AND (?5 IS NULL OR d.task IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR d.at >= ?6) AND (?7 IS NULL OR d.at < ?7)
ORDER BY d.number DESC LIMIT ?8

-- name: reasons
SELECT d.reason, count(*) AS count FROM dead AS d
WHERE d.queue = ?1 AND d.number < ?2 AND d.number >= ?3
  AND (?4 IS NULL OR d.reason IN (SELECT value FROM json_each(?4))) AND (?5 IS NULL OR d.task IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR d.at >= ?6) AND (?7 IS NULL OR d.at < ?7)
GROUP BY d.reason

-- name: purge
DELETE FROM dead AS d
WHERE d.queue = ?1 AND d.number < ?2 AND d.number >= ?3
  AND (?4 IS NULL OR d.reason IN (SELECT value FROM json_each(?4))) AND (?5 IS NULL OR d.task IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR d.at >= ?6) AND (?7 IS NULL OR d.at < ?7)
RETURNING message
