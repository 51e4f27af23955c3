-- reopen-group.lua: surplus parts of a group go; when it is not complete without them it is not due any more.
-- KEYS[1] due groups  KEYS[2] parts (.j)  KEYS[3] added later (.t)  KEYS[4] size (.s)  ARGV[1] group  ARGV[2..] surplus parts, at most 1000
-- Returns 1 when the group is open again.
if #ARGV > 1 then redis.call('ZREM', KEYS[2], unpack(ARGV, 2)) end
local needed = (tonumber(redis.call('GET', KEYS[4]) or 0) or 0) + (tonumber(redis.call('GET', KEYS[3]) or 0) or 0)
if redis.call('ZCARD', KEYS[2]) >= needed then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
