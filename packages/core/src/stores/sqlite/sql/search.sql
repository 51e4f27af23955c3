-- Looking for messages, in portions, each beyond the place at which the one before ended.

-- name: loans
SELECT loans.holder, take, message, envelope, workers.name AS worker
FROM loans JOIN messages ON messages.id = loans.message JOIN workers USING (holder)
WHERE (loans.holder, take, message) > (?1, ?2, ?3) ORDER BY loans.holder, take, message LIMIT ?4

-- name: ready
SELECT step, place, envelope FROM ready JOIN messages ON messages.id = ready.message
WHERE queue = (SELECT id FROM queues WHERE name = ?1) AND (step, place) > (?2, ?3) ORDER BY step, place LIMIT ?4

-- name: parked
SELECT due, message, envelope FROM parked JOIN messages ON messages.id = parked.message
WHERE +queue = (SELECT id FROM queues WHERE name = ?1) AND (due, message) > (?2, ?3) ORDER BY due, message LIMIT ?4

-- name: groups
SELECT name, due FROM aggregates WHERE queue = (SELECT id FROM queues WHERE queues.name = ?1) AND aggregates.name > ?2 ORDER BY aggregates.name LIMIT ?3

-- name: keyed
SELECT key, step, place, message, envelope FROM keyed JOIN messages ON messages.id = keyed.message
WHERE queue = (SELECT id FROM queues WHERE name = ?1) AND (key, step, place, message) > (?2, ?3, ?4, ?5)
ORDER BY key, step, place, message LIMIT ?6

-- name: held
SELECT limit_waiting.id, since, ordinal, number, envelope FROM limit_waiting JOIN messages ON messages.id = limit_waiting.message
WHERE queue = (SELECT id FROM queues WHERE name = ?1) AND (limit_waiting.id, since, ordinal, number) > (?2, ?3, ?4, ?5)
ORDER BY limit_waiting.id, since, ordinal, number LIMIT ?6
