-- batch-quiet.lua: sealed batches that have heard of no member for a while, for one caller to look after.
-- KEYS[1] sealed batches that wait, sorted set: id -> when it last heard of one, ms    ARGV[1] how long ago at least, ms  ARGV[2] how many at most
-- Returns their ids, the quietest first. They count as heard of now, so that the next caller gets others.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], now, id) end
return ids
