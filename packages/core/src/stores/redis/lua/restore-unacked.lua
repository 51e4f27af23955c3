#!lua flags=allow-oom
-- restore-unacked.lua: return a message that a Python worker took and never acknowledged.
-- KEYS[1] unacked  KEYS[2] unacked_index  KEYS[3..] lists    ARGV[1] delivery tag  ARGV[2] SHA-1 of what the caller read  ARGV[3] envelope, marked redelivered
-- Returns 1, or 0 when it was acknowledged or restored meanwhile.
-- As kombu does (kombu/transport/redis.py, restore_by_tag, and _do_restore_message with leftmost=False), but without WATCH.
for i = 3, #KEYS do redis.call('LLEN', KEYS[i]) end
redis.call('ZCARD', KEYS[2])
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
if redis.sha1hex(stored) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], '') -- before Redis 7 a script that has written is not stopped by a full memory
for i = 3, #KEYS do redis.call('RPUSH', KEYS[i], ARGV[3]) end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
