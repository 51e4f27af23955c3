-- publish-group.lua: take the first messages out of a group, and publish the one that they became.
-- KEYS[1] list of the group  KEYS[2] groups by when they are due  KEYS[3] list of the queue  KEYS[4] groups of the queue
-- ARGV[1] group  ARGV[2] how many  ARGV[3] the first of them  ARGV[4] the last of them  ARGV[5] envelope of what they became
-- Returns 1, or 0 when they are no more the first: somebody else has published them.
-- Invariant: what leaves the group is in the queue, in the same step. Envelopes have delivery tags of their own, so that two can tell for all.
local count = tonumber(ARGV[2])
redis.call('ZCARD', KEYS[2]) -- what can raise is done before the first write
redis.call('LLEN', KEYS[3])
redis.call('HLEN', KEYS[4])
if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[3] or redis.call('LINDEX', KEYS[1], count - 1) ~= ARGV[4] then return 0 end
redis.call('LPUSH', KEYS[3], ARGV[5])
redis.call('LTRIM', KEYS[1], count, -1)
if redis.call('HINCRBY', KEYS[4], '@', -count) == 0 then redis.call('HDEL', KEYS[4], '@') end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[4], '=' .. ARGV[1])
end
return 1
