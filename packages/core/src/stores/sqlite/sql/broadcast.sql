-- Fanout.

-- name: send
INSERT INTO broadcasts (exchange, key, envelope, at) VALUES (?1, ?2, ?3, ?4)

-- name: forget
DELETE FROM broadcasts WHERE number IN (SELECT number FROM broadcasts WHERE at < ?1 ORDER BY number LIMIT 1000)

-- The number of the last one ever sent.
-- name: last
SELECT seq AS number FROM sqlite_sequence WHERE name = 'broadcasts'

-- name: after
SELECT number, exchange, key, envelope FROM broadcasts WHERE number > ?1 ORDER BY number LIMIT 1000
