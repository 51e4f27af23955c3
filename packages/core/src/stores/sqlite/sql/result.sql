-- Results of tasks. A stored SUCCESS that has not expired stays (celery-protocol 6.1).

-- name: store
INSERT OR REPLACE INTO results (task, state, document, expires)
SELECT ?1, ?2, ?3, ?4
WHERE NOT EXISTS (SELECT 1 FROM results WHERE task = ?1 AND state = 'SUCCESS' AND (expires IS NULL OR expires > ?5))

-- name: fetch
SELECT document FROM results WHERE task = ?1 AND (expires IS NULL OR expires > ?2)

-- name: forget
DELETE FROM results WHERE task = ?1

-- name: expire
DELETE FROM results WHERE number IN (SELECT number FROM results WHERE expires <= ?1 LIMIT ?2)

-- The number of the last store.
-- name: last
SELECT seq AS number FROM sqlite_sequence WHERE name = 'results'

-- name: after
SELECT number, task FROM results WHERE number > ?1 ORDER BY number

-- name: changed
SELECT document FROM results WHERE task = ?1 AND number > ?2
