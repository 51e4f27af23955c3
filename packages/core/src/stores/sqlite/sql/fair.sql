-- Fair queues: ?1 is the queue, ?2 a key where nothing else is said.

-- name: unsorted
SELECT r.message, r.step, r.place, r.losses, r.bytes, m.envelope
FROM ready AS r CROSS JOIN messages AS m ON m.id = r.message
WHERE r.queue = ?1 ORDER BY r.step, r.place LIMIT ?2

-- name: countUnsorted
SELECT count(*) AS unsorted FROM ready WHERE queue = ?1

-- name: leaveReady
DELETE FROM ready WHERE queue = ?1 AND step = ?2 AND place = ?3

-- name: sort
INSERT INTO keyed (queue, key, step, place, message, losses, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- name: enrol
INSERT OR IGNORE INTO fair_ring (queue, seat, key, credit)
SELECT ?1, coalesce((SELECT max(seat) FROM fair_ring WHERE queue = ?1), 0) + 1, ?2, 0
WHERE EXISTS (SELECT 1 FROM keyed WHERE queue = ?1 AND key = ?2)

-- name: ring
SELECT seat, key, credit FROM fair_ring WHERE queue = ?1 ORDER BY seat LIMIT ?2

-- name: hasRing
SELECT EXISTS (SELECT 1 FROM fair_ring WHERE queue = ?1) AS found

-- name: leaveRing
DELETE FROM fair_ring WHERE queue = ?1 AND seat = ?2

-- name: sit
INSERT INTO fair_ring (queue, seat, key, credit)
SELECT ?1, coalesce(?3, (SELECT max(seat) FROM fair_ring WHERE queue = ?1) + 1, 1), ?2, ?4

-- name: rights
SELECT weight, most, paused FROM fair_settings WHERE queue = ?1 AND field = ?2

-- How many wait, counted up to ?3.
-- name: waiting
SELECT count(*) AS count FROM (SELECT 1 FROM keyed WHERE queue = ?1 AND key = ?2 LIMIT ?3)

-- name: running
SELECT count(*) AS count FROM loans WHERE queue = ?1 AND key = ?2 AND key IS NOT NULL

-- name: first
SELECT k.message, k.step, k.place, k.losses, k.bytes, m.envelope
FROM keyed AS k CROSS JOIN messages AS m ON m.id = k.message
WHERE k.queue = ?1 AND k.key = ?2 ORDER BY k.step, k.place, k.message LIMIT 1

-- name: lend
INSERT INTO loans (holder, take, message, queue, step, place, losses, bytes, key) VALUES (?3, ?4, ?5, ?1, ?6, ?7, ?8, ?9, ?2)

-- name: take
DELETE FROM keyed WHERE queue = ?1 AND key = ?2 AND step = ?3 AND place = ?4 AND message = ?5

-- name: look
INSERT INTO fair_queues (queue, looked) VALUES (?1, ?2) ON CONFLICT (queue) DO UPDATE SET looked = ?2

-- name: looked
SELECT looked FROM fair_queues WHERE queue = ?1

-- name: queues
SELECT f.queue, q.name, f.looked FROM fair_queues AS f CROSS JOIN queues AS q ON q.id = f.queue

-- name: forget
DELETE FROM fair_queues WHERE queue = ?1 AND NOT EXISTS (SELECT 1 FROM keyed WHERE queue = ?1)

-- The next keys after ?2, in order: that have messages waiting, that have loans, that have settings.
-- name: nextWaiting
SELECT min(key) AS key FROM keyed WHERE queue = ?1 AND key > ?2

-- name: nextRunning
SELECT min(key) AS key FROM loans WHERE queue = ?1 AND key > ?2 AND key IS NOT NULL

-- name: nextSet
SELECT min(field) AS field FROM fair_settings WHERE queue = ?1 AND field > '=' || ?2

-- name: set
INSERT INTO fair_settings (queue, field, weight, most, paused) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (queue, field) DO UPDATE SET weight = ?3, most = ?4, paused = ?5

-- name: unset
DELETE FROM fair_settings WHERE queue = ?1 AND field = ?2

-- name: countSet
SELECT count(*) AS count FROM fair_settings WHERE queue = ?1

-- Slices of ?2, the last first, so that the earlier ones are put in front of them.
-- name: release
DELETE FROM keyed WHERE (queue, key, step, place, message) IN
  (SELECT queue, key, step, place, message FROM keyed WHERE queue = ?1 ORDER BY place DESC LIMIT ?2)
RETURNING message, queue, step, place, losses, bytes

-- name: releaseKey
DELETE FROM keyed WHERE (queue, key, step, place, message) IN
  (SELECT queue, key, step, place, message FROM keyed WHERE queue = ?1 AND key = ?2 ORDER BY step DESC, place DESC, message DESC LIMIT ?3)
RETURNING message, queue, step, place, losses, bytes

-- name: clearRing
DELETE FROM fair_ring WHERE queue = ?1 AND NOT EXISTS (SELECT 1 FROM keyed WHERE queue = ?1)
