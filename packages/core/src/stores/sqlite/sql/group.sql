-- Groups and the parts of their members (celery-protocol 7.5).

-- name: begin
INSERT INTO group_counts (group_id, size, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (group_id) DO UPDATE SET size = excluded.size, expires = excluded.expires

-- name: extend
INSERT INTO group_counts (group_id, added, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (group_id) DO UPDATE SET added = added + excluded.added, expires = excluded.expires

-- name: touch
INSERT INTO group_counts (group_id, expires) VALUES (?1, ?2)
ON CONFLICT (group_id) DO UPDATE SET expires = excluded.expires

-- A member has one part, and its first SUCCESS stays.
-- name: add
INSERT INTO group_parts (group_id, task, place, is_success, part) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (group_id, task) DO UPDATE SET place = excluded.place, is_success = excluded.is_success, part = excluded.part
WHERE is_success = 0

-- Whether the member is the one that completes the group; it is noted as that.
-- name: complete
UPDATE group_counts SET completed = ?2
WHERE group_id = ?1 AND size IS NOT NULL AND coalesce(completed, ?2) = ?2
  AND (SELECT count(*) FROM group_parts WHERE group_id = ?1) >= size + added

-- name: expected
SELECT coalesce(size, 0) + added AS expected FROM group_counts WHERE group_id = ?1

-- name: parts
SELECT part FROM group_parts WHERE group_id = ?1 ORDER BY place, task

-- name: reopen
UPDATE group_counts SET completed = NULL WHERE group_id = ?1

-- name: end
DELETE FROM group_counts WHERE group_id = ?1

-- name: expire
DELETE FROM group_counts WHERE group_id IN (SELECT group_id FROM group_counts WHERE expires <= ?1 LIMIT ?2)

-- name: save
INSERT INTO saved_groups (group_id, document, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (group_id) DO UPDATE SET document = excluded.document, expires = excluded.expires

-- name: restore
SELECT document FROM saved_groups WHERE group_id = ?1 AND (expires IS NULL OR expires > ?2)

-- name: forget
DELETE FROM saved_groups WHERE group_id = ?1

-- name: expireSaved
DELETE FROM saved_groups WHERE group_id IN (SELECT group_id FROM saved_groups WHERE expires <= ?1 LIMIT ?2)
