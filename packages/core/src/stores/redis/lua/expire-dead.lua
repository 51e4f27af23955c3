#!lua flags=allow-oom
-- expire-dead.lua: discard the dead letters of one queue that are older than the age cap, oldest first.
-- KEYS[1] dead letters  KEYS[2] their index
-- ARGV[1] age, ms  ARGV[2] how many at most
-- Returns how many.
local hash, index = KEYS[1], KEYS[2]
local now = redis.call('TIME')
local before = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(ARGV[1])
local ids = redis.call('ZRANGEBYSCORE', index, '-inf', string.format('(%.0f', before), 'LIMIT', 0, tonumber(ARGV[2]))
if #ids == 0 then return 0 end
redis.call('HDEL', hash, '') -- before Redis 7 a script that has written is not stopped by a full memory
for _, id in ipairs(ids) do
  redis.call('HINCRBY', hash, '@bytes', -redis.call('HSTRLEN', hash, id))
  redis.call('HDEL', hash, id)
  redis.call('ZREM', index, id)
end
if redis.call('ZCARD', index) == 0 then redis.call('DEL', hash) end
return #ids
