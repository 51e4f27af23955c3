#!lua flags=allow-oom
-- fair-end.lua: count loans of a fair queue that have ended. A loan that is still there is passed over, so that whoever is in doubt may ask.
-- KEYS[1] loans of the worker that had them  KEYS[2] keys, hash  KEYS[3] ring  KEYS[4] settings  KEYS[5] what runs  KEYS[6] bell: as in fair-reserve.lua
-- ARGV loans
-- Returns how many were counted.
-- Invariant: each entry of KEYS[5] is counted once in the state of its key. A key that waited for that is in the ring again, and a worker is woken.
local loans, keys, ring, settings, running, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
redis.call('HLEN', loans)
redis.call('HLEN', keys)
redis.call('LLEN', ring)
redis.call('LLEN', bell)
redis.call('HLEN', settings)
redis.call('HDEL', loans, '') -- before Redis 7 a script that has written is not stopped by a full memory

local function is_open(key, loans_of_key)
  local defaults, own = redis.call('HGET', settings, '*') or '0 0', redis.call('HGET', settings, '=' .. key) or '0 0 0'
  local limit = tonumber(string.match(own, '^%d+ (%d+)'))
  if limit == 0 then limit = tonumber(string.match(defaults, '^%d+ (%d+)')) end
  return string.match(own, '^%d+ %d+ (%d)') ~= '1' and (limit == 0 or loans_of_key < limit)
end

local count, joined = 0, 0
for _, loan in ipairs(ARGV) do
  local claim = redis.call('HGET', running, loan)
  if claim and redis.call('HEXISTS', loans, loan) == 0 then
    local key = string.sub(claim, string.find(claim, '\n', 1, true) + 1)
    local state = redis.call('HGET', keys, key)
    redis.call('HDEL', running, loan)
    count = count + 1
    local place, held, rest = string.match(state or '', '^(%d) (%d+) (.*)$')
    if place then
      held = math.max(0, held - 1)
      if place == '2' and is_open(key, held) then
        redis.call('RPUSH', ring, key)
        place, joined = '1', joined + 1
      end
      if place == '0' and held == 0 then
        redis.call('HDEL', keys, key)
      else
        redis.call('HSET', keys, key, place .. ' ' .. string.format('%d', held) .. ' ' .. rest)
      end
    end
  end
end
if joined > 0 and redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, '') end
return count
