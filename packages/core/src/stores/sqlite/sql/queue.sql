-- A queue as a whole.

-- name: depth
SELECT (SELECT count(*) FROM ready WHERE queue = ?1) + (SELECT count(*) FROM keyed WHERE queue = ?1) AS ready,
       (SELECT count(*) FROM parked WHERE queue = ?1) + (SELECT count(*) FROM limit_waiting WHERE queue = ?1)
         + (SELECT count(*) FROM aggregates JOIN aggregated USING (name) WHERE queue = ?1) AS parked,
       (SELECT count(*) FROM loans WHERE queue = ?1) AS onLoan,
       coalesce((SELECT count FROM dead_totals WHERE queue = ?1), 0) AS dead

-- In slices of ?2, so that no transaction lasts long.
-- name: purgeReady
DELETE FROM ready WHERE (queue, step, place) IN
  (SELECT queue, step, place FROM ready WHERE queue = ?1 ORDER BY step, place LIMIT ?2)
RETURNING message

-- name: purgeParked
DELETE FROM parked WHERE (due, message) IN (SELECT due, message FROM parked WHERE queue = ?1 LIMIT ?2)
RETURNING message

-- name: purgeWaiting
DELETE FROM limit_waiting WHERE number IN (SELECT number FROM limit_waiting WHERE queue = ?1 LIMIT ?2)
RETURNING message

-- Once nobody waits there.
-- name: purgeTurns
DELETE FROM limit_turns WHERE queue = ?1 AND NOT EXISTS (SELECT 1 FROM limit_waiting WHERE queue = ?1 AND limit_waiting.id = limit_turns.id)

-- name: purgeFolded
DELETE FROM aggregated WHERE (name, message) IN
  (SELECT name, message FROM aggregates JOIN aggregated USING (name) WHERE queue = ?1 LIMIT ?2)
RETURNING message

-- Groups that hold nothing more.
-- name: purgeGroups
DELETE FROM aggregates WHERE queue = ?1 AND NOT EXISTS (SELECT 1 FROM aggregated WHERE aggregated.name = aggregates.name)

-- name: purgeKeyed
DELETE FROM keyed WHERE (queue, key, step, place, message) IN
  (SELECT queue, key, step, place, message FROM keyed WHERE queue = ?1 LIMIT ?2)
RETURNING message
