#!lua flags=allow-oom
-- fair-end.lua: count loans of a fair queue that have ended. A loan that is still there is passed over, so that whoever is in doubt may ask.
-- KEYS[1] loans of the worker that had them  KEYS[2] keys, hash  KEYS[3] ring  KEYS[4] what runs  KEYS[5] bell: as in fair-reserve.lua
-- ARGV loans
-- Returns how many were counted.
-- Invariant: each entry of KEYS[4] is counted once in the state of its key. A key that waited for that is in the ring again, and a worker is woken.
local loans, keys, ring, running, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('HLEN', loans)
redis.call('HLEN', keys)
redis.call('LLEN', ring)
redis.call('LLEN', bell)
redis.call('HDEL', loans, '') -- before Redis 7 a script that has written is not stopped by a full memory

-- By key, so that what is done for each loan is little.
local ended, held, order = {}, {}, {}
for from = 1, #ARGV, 1000 do
  local last = math.min(from + 999, #ARGV)
  local claims = redis.call('HMGET', running, unpack(ARGV, from, last))
  for i = from, last do
    local claim = claims[i - from + 1]
    if claim and redis.call('HEXISTS', loans, ARGV[i]) == 0 then
      local key = string.sub(claim, string.find(claim, '\n', 1, true) + 1)
      if not held[key] then order[#order + 1] = key end
      held[key] = (held[key] or 0) + 1
      ended[#ended + 1] = ARGV[i]
    end
  end
end
local joined = 0
for _, key in ipairs(order) do
  local place, before, rest = string.match(redis.call('HGET', keys, key) or '', '^(%d) (%d+) (.*)$')
  if place then
    local left = math.max(0, before - held[key])
    if place == '2' then -- reserving puts it out again if it still must wait
      redis.call('RPUSH', ring, key)
      place, joined = '1', joined + 1
    end
    if place == '0' and left == 0 then
      redis.call('HDEL', keys, key)
    else
      redis.call('HSET', keys, key, place .. ' ' .. string.format('%d', left) .. ' ' .. rest)
    end
  end
end
for from = 1, #ended, 1000 do redis.call('HDEL', running, unpack(ended, from, math.min(from + 999, #ended))) end
if joined > 0 and redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, '') end
return #ended
