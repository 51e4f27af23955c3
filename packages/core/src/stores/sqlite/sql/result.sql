-- Results of tasks. A stored SUCCESS that has not expired stays (celery-protocol 6.1).

-- ?1 more numbers; answers the last of them.
-- name: takeNumbers
UPDATE result_numbers SET last = last + ?1 RETURNING last

-- name: store
INSERT INTO results (number, task, state, document, expires) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (task) DO UPDATE
SET number = excluded.number, state = excluded.state, document = excluded.document, expires = excluded.expires
WHERE state <> 'SUCCESS' OR expires <= ?6

-- name: fetch
SELECT document FROM results WHERE task = ?1 AND (expires IS NULL OR expires > ?2)

-- name: forget
DELETE FROM results WHERE task = ?1

-- name: expire
DELETE FROM results WHERE number IN (SELECT number FROM results WHERE expires <= ?1 LIMIT ?2)

-- The number of the last store.
-- name: last
SELECT last FROM result_numbers

-- name: after
SELECT number, task FROM results WHERE number > ?1 ORDER BY number

-- name: changed
SELECT document FROM results WHERE task = ?1 AND number > ?2
