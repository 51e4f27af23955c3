-- Looking for messages, in portions, above the last number that was seen.

-- name: loans
SELECT messages.id AS message, envelope, workers.name AS worker
FROM messages JOIN loans ON loans.message = messages.id JOIN workers USING (holder)
WHERE messages.id > ?1 ORDER BY messages.id LIMIT ?2

-- name: ready
SELECT messages.id AS message, envelope FROM ready JOIN messages ON messages.id = ready.message
WHERE ready.queue = (SELECT id FROM queues WHERE name = ?1) AND messages.id > ?2 ORDER BY messages.id LIMIT ?3

-- name: parked
SELECT messages.id AS message, envelope, due FROM parked JOIN messages ON messages.id = parked.message
WHERE parked.queue = (SELECT id FROM queues WHERE name = ?1) AND messages.id > ?2 ORDER BY messages.id LIMIT ?3

-- name: keyed
SELECT messages.id AS message, envelope FROM keyed JOIN messages ON messages.id = keyed.message
WHERE keyed.queue = (SELECT id FROM queues WHERE name = ?1) AND messages.id > ?2 ORDER BY messages.id LIMIT ?3
