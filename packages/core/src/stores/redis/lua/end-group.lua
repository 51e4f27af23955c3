-- end-group.lua: remove the record of a group that was due, and all that was counted.
-- KEYS[1] due groups  KEYS[2] open groups  KEYS[3..7] saved group, parts (.j), added later (.t), size (.s), Lovage's hash of the group  ARGV[1] group
-- Returns 1 when it was due.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
return redis.call('HDEL', KEYS[1], ARGV[1])
