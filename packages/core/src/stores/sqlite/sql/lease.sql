-- Workers, their leases, and their loans as a whole. Times are the machine's monotonic clock, ms.

-- name: worker
SELECT holder, consumer, ends, duration, lost FROM workers WHERE name = ?1

-- name: add
INSERT INTO workers (name, consumer, ends, duration, lost) VALUES (?1, ?2, ?3, ?4, 0)

-- name: renew
UPDATE workers SET ends = ?2, duration = ?3, lost = 0 WHERE name = ?1

-- name: consume
UPDATE workers SET consumer = ?2 WHERE name = ?1

-- Ended at ?1, or from before the machine's last start.
-- name: ended
SELECT holder, name, consumer, ends, duration FROM workers WHERE lost = 0 AND (ends <= ?1 OR ends > ?1 + duration)

-- name: remove
DELETE FROM workers WHERE name = ?1

-- A swept worker under a new number, so that what it still holds is lost.
-- name: addLost
INSERT INTO workers (name, consumer, ends, duration, lost) VALUES (?1, ?2, ?3, ?4, 1)

-- Swept ones that never came back, ?2 ms after their lease.
-- name: forget
DELETE FROM workers WHERE lost = 1 AND (ends <= ?1 - ?2 OR ends > ?1 + duration)

-- name: takeLoans
DELETE FROM loans WHERE holder = ?1 RETURNING take, message, queue, step, place, losses, bytes, begun

-- name: begin
UPDATE loans SET begun = 1 WHERE holder = ?1 AND take = ?2 AND message = ?3

-- name: list
SELECT name, ends, (SELECT count(*) FROM loans WHERE loans.holder = workers.holder) AS loans
FROM workers WHERE lost = 0 ORDER BY name
