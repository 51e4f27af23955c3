-- look-at-group.lua: whether an open group has been quiet since the last look; the next look is the later the longer it is.
-- KEYS[1] open groups  KEYS[2] due groups  KEYS[3] parts (.j)  KEYS[4] added later (.t)  KEYS[5] size (.s)  KEYS[6] Lovage's hash of the group
-- ARGV[1] group  ARGV[2] first look after, ms  ARGV[3] last, ms
-- Returns nothing when it is not the caller's to look at; else how long it has been quiet in ms, parts, how many it waits for or -1, members, body, heading.
local open, due, parts, notes, group = KEYS[1], KEYS[2], KEYS[3], KEYS[6], ARGV[1]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local at = redis.call('ZSCORE', open, group)
if not at or tonumber(at) > now_ms then return {} end
local counted, size = redis.pcall('ZCARD', parts), redis.call('GET', KEYS[5])
if type(counted) ~= 'number' or redis.call('EXISTS', notes) == 0 or (not size and counted == 0) then -- ended by others, or expired
  redis.call('ZREM', open, group)
  redis.call('UNLINK', notes)
  return {}
end
local seen = redis.call('HGET', notes, 'seen')
local since = tonumber(redis.call('HGET', notes, 'since') or nil)
local is_quiet = seen == tostring(counted) and since
if not is_quiet then
  since = now_ms
  redis.call('HSET', notes, 'seen', counted, 'since', string.format('%.0f', now_ms))
end
local quiet_ms = now_ms - since
redis.call('ZADD', open, now_ms + math.min(math.max(quiet_ms, tonumber(ARGV[2])), tonumber(ARGV[3])), group)
if not is_quiet or redis.call('HEXISTS', due, group) == 1 then return {} end
local needed = size and tonumber(size) + tonumber(redis.call('GET', KEYS[4]) or 0) or -1
local told = redis.call('HMGET', notes, 'members', 'body', 'heading')
return { quiet_ms, counted, needed, told[1] or '', told[2] or '', told[3] or '' }
