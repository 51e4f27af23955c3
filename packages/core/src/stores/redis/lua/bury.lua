#!lua flags=allow-oom
-- bury.lua: empty the inboxes of a worker that is gone, and forget the worker once nothing can reach it any more.
-- KEYS[1] loans of the worker  KEYS[2] leases  KEYS[3] graves  KEYS[4] lists with an inbox  KEYS[5..] inbox and its list, in pairs
-- ARGV[1] worker  ARGV[2] why: expired | released | grave  ARGV[3] how long a blocking read of it may still fill an inbox, ms
-- Returns -1 when the worker is back, else how many messages went to the front of their lists; they were never started.
-- Invariant: an inbox that may be filled is known to the lease set or to the graves.
local worker, why = ARGV[1], ARGV[2]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[2], worker)
if why == 'expired' and ends and tonumber(ends) > now_ms then return -1 end
if why == 'grave' and ends then
  redis.call('ZREM', KEYS[3], worker)
  return -1
end
for i = 5, #KEYS do redis.call('LLEN', KEYS[i]) end
redis.call('HDEL', KEYS[1], '') -- before Redis 7 a script that has written is not stopped by a full memory
local moved = 0
for i = 5, #KEYS, 2 do
  while redis.call('LMOVE', KEYS[i], KEYS[i + 1], 'LEFT', 'RIGHT') do moved = moved + 1 end
end
if redis.call('HLEN', KEYS[1]) > redis.call('HEXISTS', KEYS[1], '@epoch') then return moved end -- loans first: it will be swept again
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], worker)
if why ~= 'grave' then
  redis.call('ZADD', KEYS[3], string.format('%.0f', now_ms + tonumber(ARGV[3])), worker)
  redis.call('PEXPIRE', KEYS[4], 86400000) -- in case nobody is left to sweep
elseif tonumber(redis.call('ZSCORE', KEYS[3], worker) or 0) <= now_ms then
  redis.call('ZREM', KEYS[3], worker)
  redis.call('DEL', KEYS[4])
end
return moved
