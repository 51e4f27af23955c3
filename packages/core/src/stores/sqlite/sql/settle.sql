-- Ends loans. A loan is named by holder ?1, take ?2 and message ?3; ending it is the fence: when no row was there, the
-- loan is lost, and nothing else of its settlement may be done.

-- name: end
DELETE FROM loans WHERE holder = ?1 AND take = ?2 AND message = ?3

-- name: endKnown
DELETE FROM loans WHERE holder = ?1 AND take = ?2 AND message = ?3
RETURNING message, queue, step, place, losses, bytes

-- name: onLoan
SELECT 1 FROM loans WHERE holder = ?1 AND take = ?2 AND message = ?3

-- name: drop
DELETE FROM messages WHERE id = ?1

-- name: envelope
SELECT envelope FROM messages WHERE id = ?1

-- name: rewrite
UPDATE messages SET envelope = ?2 WHERE id = ?1

-- A new number for a message that goes to the back.
-- name: renumber
INSERT INTO messages (envelope) SELECT envelope FROM messages WHERE id = ?1

-- name: firstPlace
SELECT min(place) AS place FROM ready WHERE queue = ?1 AND step = ?2

-- name: ready
INSERT INTO ready (queue, step, place, message, losses, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
