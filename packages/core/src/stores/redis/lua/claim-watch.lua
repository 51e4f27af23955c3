#!lua flags=allow-oom
-- claim-watch.lua: take or keep one of the few places from which a set of lists is watched, or give it up.
-- KEYS[1] watchers of these lists    ARGV[1] worker  ARGV[2] how long a place is kept, ms; 0 gives it up  ARGV[3] places
-- Returns 1 when the worker has a place now.
-- Every watcher wakes for every message, so that more than a handful would cost Redis more than they bring.
local watchers, worker, keep_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
if keep_ms == 0 then
  redis.call('ZREM', watchers, worker)
  return 0
end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', watchers, '-inf', string.format('%.0f', now_ms))
if not redis.call('ZSCORE', watchers, worker) and redis.call('ZCARD', watchers) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', watchers, string.format('%.0f', now_ms + keep_ms), worker)
redis.call('PEXPIRE', watchers, keep_ms)
return 1
