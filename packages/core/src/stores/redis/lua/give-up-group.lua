-- give-up-group.lua: a group that nothing will complete is due, and fails.
-- KEYS[1] due groups  KEYS[2] Lovage's hash of the group  ARGV[1] group  ARGV[2] why
-- Returns 1, or 0 when it was due or has ended before.
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
local now = redis.call('TIME')
redis.call('HSET', KEYS[2], 'lost', ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now[1] * 1000 + 3000) .. '\n\n' .. (redis.call('HGET', KEYS[2], 'heading') or '\n0'))
local lives = redis.call('TTL', KEYS[2])
if redis.call('TTL', KEYS[1]) < lives then redis.call('EXPIRE', KEYS[1], lives) end
return 1
