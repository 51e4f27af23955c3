#!lua flags=allow-oom
-- add-part.lua: store the result of a chord's member and register its part; tell whether it is the one that completes the group.
-- KEYS[1] parts (.j)  KEYS[2] added later (.t)  KEYS[3] size (.s)  KEYS[4] who completed it  KEYS[5] result of the member, if it is kept
-- ARGV[1] task id  ARGV[2] place or +inf  ARGV[3] part  ARGV[4] seconds to live or 0  ARGV[5] of the result  ARGV[6] document
-- Returns 1 for the member that completes the group, again whenever it reports again, else 0.
-- Invariant: a member has one part; the first SUCCESS stays. One member alone is told that the group is complete.
-- As Celery's ZADD, ZCOUNT, GET .t and .s, EXPIRE (celery/backends/redis.py, on_chord_part_return), which counts a member
-- twice when its second part differs.
local parts, added, size, completed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, place, part, seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('ZCARD', parts) -- what can raise comes before the first write

if KEYS[5] then
  local head = redis.pcall('GETRANGE', KEYS[5], 0, 31)
  if type(head) ~= 'string' or not string.find(head, 'status[^%w]+SUCCESS[^%w]') then
    if ARGV[5] == '0' then redis.call('SET', KEYS[5], ARGV[6]) else redis.call('SETEX', KEYS[5], ARGV[5], ARGV[6]) end
    redis.pcall('PUBLISH', KEYS[5], ARGV[6])
  end
end

local stays = false
for _, old in ipairs(redis.call('ZRANGEBYSCORE', parts, place, place)) do
  local first, last = string.find(old, id, 1, true)
  if first and first < 16 then -- [1, "<id>", in JSON, a few bytes in other serializers
    local state = string.find(old, 'SUCCESS', last, true)
    if state and state - last < 8 then stays = true else redis.call('ZREM', parts, old) end
  end
end
if not stays then redis.call('ZADD', parts, place, part) end
local expected = tonumber(redis.call('GET', size) or nil)
local more = tonumber(redis.call('GET', added) or 0) or 0
if seconds ~= '0' then
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], seconds) end
end
if not expected or redis.call('ZCARD', parts) < expected + more then return 0 end
local who = redis.call('GET', completed)
if who then return who == id and 1 or 0 end
if seconds == '0' then redis.call('SET', completed, id) else redis.call('SETEX', completed, seconds, id) end
return 1
