-- batch-begin.lua: make a batch, open and without members. Not on a full Redis: it refuses.
-- KEYS[1] batch, hash    ARGV[1] document  ARGV[2] events, with spaces between  ARGV[3] ms that it is kept  ARGV[4] id of its parent or ''  ARGV[5] its place there
-- Returns 1, or 0 when it was there already.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'document', ARGV[1], 'events', ARGV[2], 'expires', ARGV[3], 'created', now, 'total', 0)
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'parent', ARGV[4], 'place', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
