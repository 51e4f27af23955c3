-- register-part.lua, included by others: a member's part takes its place in its group, and the one that completes the group leaves the record of
-- what is due: field group of the hash `due`, "<ms until it may be claimed>\n<member>\n<root>\n<priority>". `first` is the index in KEYS of
-- parts (.j), added later (.t), size (.s) and Lovage's hash of the group (body: the signature to be called), in this order.
-- Returns whether this part completed the group.
-- Invariant: a member has one part; the first SUCCESS stays. Only a part that is new can complete, so a repetition never does.
-- As Celery's ZADD, ZCOUNT, GET .t and .s, EXPIRE (celery/backends/redis.py, on_chord_part_return), which counts a member twice when its second
-- part differs.
local function register_part(first, due, group, id, place, part, seconds, heading, body)
  local parts = KEYS[first]
  local before = redis.pcall('ZCARD', parts)
  if type(before) ~= 'number' then return false end -- a list: Celery's result_chord_ordered is off, which is not ours to count
  local stays = false
  if before > 0 then
    for _, old in ipairs(redis.call('ZRANGEBYSCORE', parts, place, place)) do
      local from, to = string.find(old, id, 1, true)
      if from and from < 16 then -- [1, "<id>", in JSON, a few bytes in other serializers
        local state = string.find(old, 'SUCCESS', to, true)
        if state and state - to < 8 then stays = true else redis.call('ZREM', parts, old) end
      end
    end
  end
  if not stays then redis.call('ZADD', parts, place, part) end
  if body ~= '' then redis.call('HSETNX', KEYS[first + 3], 'body', body) end
  local lives = seconds
  if seconds == '0' then
    lives = '604800' -- Celery's keys stay; ours do not
  else
    for i = first, first + 2 do redis.call('EXPIRE', KEYS[i], seconds) end
  end
  redis.call('EXPIRE', KEYS[first + 3], lives)
  local size = tonumber(redis.call('GET', KEYS[first + 2]) or nil)
  if not size then return false end
  local needed = size + (tonumber(redis.call('GET', KEYS[first + 1]) or 0) or 0)
  if before >= needed or redis.call('ZCARD', parts) < needed then return false end
  local now = redis.call('TIME')
  redis.call('HSET', due, group, string.format('%.0f', now[1] * 1000 + 3000) .. '\n' .. id .. '\n' .. heading)
  if redis.call('TTL', due) < tonumber(lives) then redis.call('EXPIRE', due, lives) end
  return true
end
