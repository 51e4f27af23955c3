-- Puts messages at the back of their queues.

-- name: queueNumber
SELECT id FROM queues WHERE name = ?1

-- name: addQueue
INSERT INTO queues (name) VALUES (?1)

-- name: message
INSERT INTO messages (envelope) VALUES (?1)

-- The messages ?3..?4, all of queue ?1 and step ?2: their numbers are their places.
-- name: ready
INSERT INTO ready (queue, step, place, message, losses, bytes)
SELECT ?1, ?2, id, id, 0, octet_length(envelope) FROM messages WHERE id BETWEEN ?3 AND ?4

-- name: bind
INSERT OR IGNORE INTO bindings (exchange, queue, type, key) VALUES (?1, ?2, ?3, ?4)

-- name: bindings
SELECT queue, type, key FROM bindings WHERE exchange = ?1
