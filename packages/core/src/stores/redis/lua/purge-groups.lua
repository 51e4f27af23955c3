#!lua flags=allow-oom
-- purge-groups.lua: discard what some groups of a queue hold.
-- KEYS[1] groups by when they are due  KEYS[2] groups of the queue  KEYS[3 ..] list of each    ARGV their names
-- Returns how many messages.
local count = 0
redis.call('ZCARD', KEYS[1]) -- what can raise is done before the first write
redis.call('HLEN', KEYS[2])
for i = 3, #KEYS do count = count + redis.call('LLEN', KEYS[i]) end
for i, group in ipairs(ARGV) do
  redis.call('UNLINK', KEYS[i + 2])
  redis.call('ZREM', KEYS[1], group)
  redis.call('HDEL', KEYS[2], '=' .. group)
end
if count > 0 and redis.call('HINCRBY', KEYS[2], '@', -count) == 0 then redis.call('HDEL', KEYS[2], '@') end
return count
