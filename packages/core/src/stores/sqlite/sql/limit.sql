-- Limits for all workers. Queues are numbers, lists of limits texts with form feeds between.

-- name: specs
SELECT field, spec FROM limit_specs

-- name: spec
SELECT field, spec FROM limit_specs WHERE field IN (?1, ?2, ?3)

-- name: setSpec
INSERT OR REPLACE INTO limit_specs (field, spec) VALUES (?1, ?2)

-- name: unsetSpec
DELETE FROM limit_specs WHERE field = ?1

-- name: tat
SELECT tat FROM limit_tats WHERE id = ?1

-- name: setTat
INSERT OR REPLACE INTO limit_tats (id, tat) VALUES (?1, ?2)

-- name: tatsAfter
SELECT id FROM limit_tats WHERE tat > ?1

-- name: forgetTats
DELETE FROM limit_tats WHERE tat < ?1

-- name: running
SELECT running FROM limit_running WHERE id = ?1

-- name: addRunning
INSERT INTO limit_running (id, running) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET running = running + ?2

-- name: notRunning
DELETE FROM limit_running WHERE id = ?1 AND running <= 0

-- name: runningIds
SELECT id FROM limit_running

-- name: hold
INSERT OR REPLACE INTO limit_holds (worker, hold, places) VALUES (?1, ?2, ?3)

-- name: takeHold
DELETE FROM limit_holds WHERE worker = ?1 AND hold = ?2 RETURNING places

-- name: takeHoldsOf
DELETE FROM limit_holds WHERE worker = ?1 RETURNING places

-- name: holders
SELECT DISTINCT worker FROM limit_holds

-- name: keep
INSERT OR REPLACE INTO limit_kept (task, start, places) VALUES (?1, ?2, ?3)

-- name: takeKept
DELETE FROM limit_kept WHERE task = ?1 RETURNING start, places

-- name: countKept
SELECT count(*) AS count FROM limit_kept

-- name: takeStale
DELETE FROM limit_kept WHERE start < ?1 RETURNING start, places

-- name: wait
INSERT INTO limit_waiting (queue, id, since, ordinal, task, limits, expires, message, step, place, losses, bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)

-- name: firstWaiting
SELECT number, since, ordinal, task, limits, expires, message, queue, step, place, losses, bytes
FROM limit_waiting WHERE queue = ?1 AND id = ?2 ORDER BY since, ordinal, number LIMIT 1

-- name: endWait
DELETE FROM limit_waiting WHERE number = ?1

-- name: waiting
SELECT id, count(*) AS count FROM limit_waiting WHERE queue = ?1 GROUP BY id

-- name: turn
SELECT turn FROM limit_turns WHERE queue = ?1 AND id = ?2

-- name: setTurn
INSERT OR REPLACE INTO limit_turns (queue, id, turn) VALUES (?1, ?2, ?3)

-- name: endTurn
DELETE FROM limit_turns WHERE queue = ?1 AND id = ?2

-- name: turnsUntil
SELECT id FROM limit_turns WHERE queue = ?1 AND turn <= ?2 ORDER BY turn, id LIMIT ?3

-- name: firstTurn
SELECT min(turn) AS turn FROM limit_turns WHERE queue = ?1

-- name: queues
SELECT name FROM queues WHERE EXISTS (SELECT 1 FROM limit_turns WHERE queue = queues.id)
