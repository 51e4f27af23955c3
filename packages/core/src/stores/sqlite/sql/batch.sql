-- Batches (results/batches.ts).

-- name: begin
INSERT INTO batches (id, document, events, parent, place, created, seen, lives, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?6 + ?7)
ON CONFLICT (id) DO NOTHING

-- name: row
SELECT * FROM batches WHERE id = ?1 AND expires > ?2

-- name: reservation
SELECT first, size, confirmed FROM batch_adds WHERE batch = ?1 AND adder = ?2 AND sequence = ?3

-- name: give
UPDATE batches SET places = places + ?2, expires = ?3 + lives WHERE batch = ?1 AND completed IS NULL AND cancelled IS NULL RETURNING places - ?2 AS first

-- name: add
INSERT OR REPLACE INTO batch_adds (batch, adder, sequence, first, size) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: confirm
UPDATE batch_adds SET confirmed = 1 WHERE batch = ?1 AND adder = ?2 AND sequence = ?3

-- name: dropAdd
DELETE FROM batch_adds WHERE batch = ?1 AND adder = ?2 AND sequence = ?3

-- name: unconfirmed
SELECT first, size FROM batch_adds WHERE batch = ?1 AND confirmed = 0 ORDER BY first

-- name: addsOf
SELECT first, size FROM batch_adds WHERE batch = ?1 AND adder = ?2 AND confirmed = 0

-- name: dropAdds
DELETE FROM batch_adds WHERE batch = ?1 AND adder = ?2

-- name: end
SELECT state FROM batch_ends WHERE batch = ?1 AND place = ?2

-- name: setEnd
INSERT INTO batch_ends (batch, place, state) VALUES (?1, ?2, ?3) ON CONFLICT (batch, place) DO UPDATE SET state = excluded.state

-- name: withdraw
INSERT INTO batch_ends (batch, place, state) VALUES (?1, ?2, 1) ON CONFLICT (batch, place) DO NOTHING

-- name: write
UPDATE batches SET withdrawn = ?2, succeeded = ?3, failed = ?4, dead = ?5, sealed = ?6, completed = ?7, success = ?8, died = ?9, cancelled = ?10, seen = ?11, expires = ?11 + lives
WHERE batch = ?1

-- name: addDue
INSERT OR IGNORE INTO batches_due (id, event, since) VALUES (?1, ?2, ?3)

-- name: due
SELECT id, event FROM batches_due WHERE since <= ?1 ORDER BY since LIMIT ?2

-- name: done
DELETE FROM batches_due WHERE id = ?1 AND event = ?2

-- name: ends
SELECT place, state FROM batch_ends WHERE batch = ?1 AND place >= ?2 AND place < ?3

-- name: children
SELECT place, id FROM batches WHERE parent = ?1 AND place >= ?2 ORDER BY place LIMIT ?3

-- name: quiet
UPDATE batches SET seen = ?2 WHERE batch IN
  (SELECT batch FROM batches WHERE sealed IS NOT NULL AND completed IS NULL AND seen <= ?1 ORDER BY seen LIMIT ?3) RETURNING id

-- name: forget
DELETE FROM batches WHERE id = ?1

-- name: expire
DELETE FROM batches WHERE batch IN (SELECT batch FROM batches WHERE expires <= ?1 LIMIT ?2)
