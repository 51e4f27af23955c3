-- Groups and the parts of their members (celery-protocol 7.5).

-- name: begin
INSERT INTO group_counts (group_id, size, expires, members, body, look_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (group_id) DO UPDATE SET size = excluded.size, expires = excluded.expires, members = excluded.members,
  body = CASE excluded.body WHEN '' THEN body ELSE excluded.body END

-- name: extend
INSERT INTO group_counts (group_id, added, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (group_id) DO UPDATE SET added = added + excluded.added, expires = excluded.expires

-- name: touch
INSERT INTO group_counts (group_id, expires, root, priority, look_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (group_id) DO UPDATE SET expires = excluded.expires, priority = CASE root WHEN '' THEN excluded.priority ELSE priority END,
  root = CASE root WHEN '' THEN excluded.root ELSE root END

-- A member has one part, and its first SUCCESS stays.
-- name: add
INSERT INTO group_parts (group_id, task, place, is_success, part) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (group_id, task) DO UPDATE SET place = excluded.place, is_success = excluded.is_success, part = excluded.part
WHERE is_success = 0

-- name: note
UPDATE group_counts SET body = ?2 WHERE group_id = ?1 AND body = ''

-- name: setDue
UPDATE group_counts SET due_until = ?2, due_member = ?3, due_root = ?4, due_priority = ?5 WHERE group_id = ?1

-- Those that have something to look at, the longest first.
-- name: toLookAt
SELECT group_id, size, added, parts, members, body, root, priority, seen, since FROM group_counts
WHERE due_until IS NULL AND look_at <= ?1 ORDER BY look_at LIMIT ?2

-- name: looked
UPDATE group_counts SET seen = ?2, since = ?3, look_at = ?4 WHERE group_id = ?1

-- name: giveUp
UPDATE group_counts SET lost = ?2, due_until = ?3, due_member = '', due_root = root, due_priority = priority
WHERE group_id = ?1 AND due_until IS NULL

-- name: due
SELECT due_member, due_root, due_priority, body, lost FROM group_counts WHERE group_id = ?1 AND due_until IS NOT NULL

-- name: anyDue
SELECT 1 FROM group_counts WHERE due_until <= ?1 LIMIT 1

-- name: claimDue
UPDATE group_counts SET due_until = ?2
WHERE group_id IN (SELECT group_id FROM group_counts WHERE due_until <= ?1 ORDER BY due_until LIMIT ?3)
RETURNING group_id

-- name: expected
SELECT coalesce(size, 0) + added AS expected, size IS NOT NULL AS is_known, parts AS count FROM group_counts WHERE group_id = ?1

-- name: look
SELECT coalesce(size, 0) + added AS expected, size IS NOT NULL AS is_known, parts AS count, body FROM group_counts WHERE group_id = ?1

-- name: someParts
SELECT place, part FROM group_parts WHERE group_id = ?1 ORDER BY place, task LIMIT ?3 OFFSET ?2

-- name: parts
SELECT part FROM group_parts WHERE group_id = ?1 ORDER BY place, task

-- name: reopen
UPDATE group_counts SET due_until = NULL
WHERE group_id = ?1 AND parts < coalesce(size, 0) + added

-- Says whether it was due.
-- name: end
DELETE FROM group_counts WHERE group_id = ?1 RETURNING due_until IS NOT NULL AS due

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
