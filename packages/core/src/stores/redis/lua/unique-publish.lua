-- unique-publish.lua: take the lock of a unique task together with publishing its message, or find who holds it. Not on a full Redis: it refuses.
-- KEYS[1] the lock  KEYS[2] all locks by their end  KEYS[3] parked messages of the queue  KEYS[4] queues with parked messages  KEYS[5] list
-- KEYS[6] leases of workers
-- ARGV[1] name  ARGV[2] id of the task  ARGV[3] done | started | time | debounce | last  ARGV[4] time to live  ARGV[5] wait  ARGV[6] most wait, 0 for none; ms
-- ARGV[7] queue  ARGV[8] envelope  ARGV[9] the id as it stands in the envelope, with quotes
-- Returns { 1, id } when the task stands for itself, { 0, id } when the task of that id stands for it, { 2, queue, list } when the call is to be made anew
-- with what is parked there, because that is what it replaces.
-- Invariant: the lock and its message are both there, or neither. The same call again does nothing more, as long as the lock is held.
-- @include end-unique

local lock, index, parked, due, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local name, id, mode, ttl, queue, envelope, quoted = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[7], ARGV[8], ARGV[9]
redis.call('LLEN', list) -- keys of a wrong type raise before the first write
redis.call('ZCARD', parked)
redis.call('ZCARD', due)
local now = unique_now()
redis.call('ZREMRANGEBYSCORE', index, '-inf', now)

local function list_of(member)
  local loan_ends = string.find(member, '\n', 1, true)
  return string.sub(member, loan_ends + 1, string.find(member, '\n', loan_ends + 1, true) - 1)
end

local function park(text, under, due_at)
  local member = under .. '\n' .. list .. '\n' .. text
  redis.call('ZADD', parked, due_at, member)
  redis.call('ZADD', due, 'LT', due_at, queue)
  return member
end

-- In place of a parked one: all whole strings that are its own id become the other's. ids hold no line break, which a JSON text has escaped.
local function replace(member, other, due_at)
  redis.call('ZREM', parked, member)
  local quoted_other = string.gsub(cjson.encode(other), '\\/', '/')
  local text = string.gsub(envelope, (string.gsub(quoted, '%W', '%%%0')), (string.gsub(quoted_other, '%%', '%%%%')))
  return park(text, other, due_at)
end

local holder, home, member, following, since, worker, until_ms = unpack(redis.call('HMGET', lock, 'id', 'queue', 'parked', 'next', 'since', 'worker', 'until'))
if holder and worker and (tonumber(redis.call('ZSCORE', KEYS[6], worker) or 0) or 0) < now then
  free_unique(lock, index, parked, due, list, name, queue, now)
  holder, member, following, until_ms = unpack(redis.call('HMGET', lock, 'id', 'parked', 'next', 'until'))
end
if holder and (holder == id or following == id) then return { 1, id } end
if holder and member and (home ~= queue or list_of(member) ~= list) then return { 2, home, list_of(member) } end
local is_parked = holder and member and redis.call('ZSCORE', parked, member)

if holder and mode == 'last' then
  if is_parked then
    redis.call('HSET', lock, 'parked', replace(member, following, until_ms))
    return { 0, following }
  end
  if home ~= queue then return { 2, home, '' } end
  redis.call('HSET', lock, 'parked', park(envelope, id, until_ms), 'next', id)
  return { 1, id }
end
if holder and mode ~= 'debounce' then return { 0, holder } end

if is_parked then
  local due_at = now + ARGV[5]
  if ARGV[6] ~= '0' then due_at = math.min(due_at, since + ARGV[6]) end
  redis.call('HSET', lock, 'parked', replace(member, holder, due_at))
  keep_unique(lock, index, name, due_at - now + ttl, now)
  return { 0, holder }
end
if holder then redis.call('UNLINK', lock) end -- debounce: it has become due, and this call begins anew
local fields = { 'id', id, 'mode', mode, 'queue', queue, 'since', now, 'ttl', ttl }
if mode == 'debounce' then
  redis.call('HSET', lock, 'parked', park(envelope, id, now + ARGV[5]), unpack(fields))
  ttl = ttl + ARGV[5]
else
  redis.call('LPUSH', list, envelope)
  redis.call('HSET', lock, unpack(fields))
end
keep_unique(lock, index, name, ttl, now)
return { 1, id }
