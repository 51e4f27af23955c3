-- end-unique.lua: what becomes of the lock of a unique task. Included by settle.lua, unique-step.lua and unique-publish.lua.
-- Fields of a lock: id, mode, queue, since, until, ttl; worker (runs it without a loan); parked (member of the queue's parked messages: the task
-- itself, or of mode last the next one) and next (its id).

local function unique_now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function keep_unique(lock, index, name, ttl, now)
  redis.call('HSET', lock, 'until', now + ttl)
  redis.call('PEXPIRE', lock, ttl)
  redis.call('ZADD', index, now + ttl, name)
end

-- The one that waits for its turn, if any, holds it from now on.
local function free_unique(lock, index, parked, due, list, name, queue, now)
  local member, following, ttl, home = unpack(redis.call('HMGET', lock, 'parked', 'next', 'ttl', 'queue'))
  if following and home == queue and redis.call('ZSCORE', parked, member) then
    local loan_ends = string.find(member, '\n', 1, true)
    local list_ends = string.find(member, '\n', loan_ends + 1, true)
    if string.sub(member, loan_ends + 1, list_ends - 1) == list then
      redis.call('ZREM', parked, member)
      redis.call('LPUSH', list, string.sub(member, list_ends + 1))
    else -- of another priority: those who look after parked messages return it
      redis.call('ZADD', parked, now, member)
      redis.call('ZADD', due, 'LT', now, queue)
    end
    redis.call('HDEL', lock, 'parked', 'next', 'worker')
    redis.call('HSET', lock, 'id', following, 'since', now)
    keep_unique(lock, index, name, ttl, now)
  else
    redis.call('UNLINK', lock)
    redis.call('ZREM', index, name)
  end
end

local function end_unique(lock, index, parked, due, list, name, id, what, value, queue)
  if redis.call('HGET', lock, 'id') ~= id then return end
  local now = unique_now()
  if what == 'own' then
    redis.call('HSET', lock, 'worker', value)
  elseif what == 'keep' then
    redis.call('HDEL', lock, 'worker')
    keep_unique(lock, index, name, value, now)
  else
    free_unique(lock, index, parked, due, list, name, queue, now)
  end
end
