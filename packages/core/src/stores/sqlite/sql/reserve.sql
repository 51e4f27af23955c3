-- Lends the first messages of a queue ?1 at a step ?2 to a worker: `measure` says up to which place, the others act up
-- to it. All in one transaction.

-- Which steps of a queue hold messages: four looks into the index.
-- name: steps
SELECT EXISTS (SELECT 1 FROM ready WHERE queue = ?1 AND step = 0) AS "0",
       EXISTS (SELECT 1 FROM ready WHERE queue = ?1 AND step = 3) AS "3",
       EXISTS (SELECT 1 FROM ready WHERE queue = ?1 AND step = 6) AS "6",
       EXISTS (SELECT 1 FROM ready WHERE queue = ?1 AND step = 9) AS "9"

-- name: measure
SELECT count(*) AS count, sum(bytes) AS bytes, max(place) AS last
FROM (SELECT place, bytes FROM ready WHERE queue = ?1 AND step = ?2 ORDER BY place LIMIT ?3)

-- name: read
SELECT r.message, r.losses, m.envelope
FROM ready AS r CROSS JOIN messages AS m ON m.id = r.message
WHERE r.queue = ?1 AND r.step = ?2 AND r.place <= ?3
ORDER BY r.place

-- name: lend
INSERT INTO loans (holder, take, message, queue, step, place, losses, bytes)
SELECT ?4, ?5, message, queue, step, place, losses, bytes FROM ready WHERE queue = ?1 AND step = ?2 AND place <= ?3

-- name: take
DELETE FROM ready WHERE queue = ?1 AND step = ?2 AND place <= ?3
