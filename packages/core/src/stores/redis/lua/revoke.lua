-- revoke.lua: remember marks of what is not to run.
-- KEYS[1] marks, a sorted set: mark -> when it was added, microseconds, made to grow with each    ARGV[1] ttl, ms  ARGV[2] most  ARGV[3..] marks
-- Returns how many younger than the ttl had to make room.
-- Invariant: a mark that is added is above all that are there, whatever the clock does, so that who reads on from a score misses none.
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local dead = string.format('%.0f', at - ARGV[1] * 1000)
local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if newest and tonumber(newest) >= at then at = tonumber(newest) + 1 end
for i = 3, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[i])
  at = at + 1
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', dead)
local over = redis.call('ZCARD', KEYS[1]) - ARGV[2]
if over > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return math.max(over, 0)
