#!lua flags=allow-oom
-- purge.lua: discard what is ready, parked or kept waiting by limits in a queue.
-- KEYS[1] parked messages of the queue  KEYS[2] queues with parked messages  KEYS[3] line of its limits  KEYS[4] their turns
-- KEYS[5..] the queue's lists    ARGV[1] queue
-- Returns how many.
local count = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[4])
for i = 5, #KEYS do count = count + redis.call('LLEN', KEYS[i]) end
redis.call('UNLINK', KEYS[1], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[2], ARGV[1])
for i = 5, #KEYS do redis.call('UNLINK', KEYS[i]) end
return count
