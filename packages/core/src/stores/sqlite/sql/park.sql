-- Messages kept aside until they are due. They are taken out in slices of ?2, the latest slice first, so that the
-- earlier ones are put in front of it.

-- name: park
INSERT INTO parked (due, message, queue, step, place, losses, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- name: nextDue
SELECT min(due) AS due FROM parked

-- name: takeDue
DELETE FROM parked WHERE (due, message) IN
  (SELECT due, message FROM parked WHERE due <= ?1 ORDER BY due DESC, message DESC LIMIT ?2)
RETURNING due, message, queue, step, place, losses, bytes

-- name: takeOfQueue
DELETE FROM parked WHERE (due, message) IN
  (SELECT due, message FROM parked WHERE queue = ?1 ORDER BY due DESC, message DESC LIMIT ?2)
RETURNING due, message, queue, step, place, losses, bytes
