-- Marks of what is not to run.

-- name: add
INSERT OR REPLACE INTO revoked (mark, at) VALUES (?1, ?2)

-- The times grow with the numbers, but for a clock that was set back: those are kept a little longer.
-- name: forget
DELETE FROM revoked WHERE number <= (SELECT max(number) FROM (SELECT number, at FROM revoked ORDER BY number LIMIT 10000) WHERE at <= ?1)

-- name: span
SELECT (SELECT max(number) FROM revoked) - (SELECT min(number) FROM revoked) + 1 AS span

-- name: count
SELECT count(*) AS count FROM revoked

-- name: crowdOut
DELETE FROM revoked WHERE number IN (SELECT number FROM revoked ORDER BY number LIMIT ?1)

-- name: page
SELECT number, mark, at FROM revoked WHERE number > ?1 AND at > ?2 ORDER BY number LIMIT ?3

-- The number before the newest so many.
-- name: before
SELECT number FROM revoked ORDER BY number DESC LIMIT 1 OFFSET ?1

-- name: has
SELECT 1 FROM revoked WHERE mark = ?1 AND at > ?2
