#!lua flags=allow-oom
-- batch-report.lua: count how members of a batch ended, seal or cancel it, and note what has become due.
-- KEYS[1] batch, hash  KEYS[2] states, two bits for each place  KEYS[3] reservations, hash  KEYS[4] due, sorted set  KEYS[5] sealed batches that wait, sorted set
-- ARGV[1] id  ARGV[2] '' or 'seal' or 'cancel' or 'die', or 'withdraw ' and a reservation: then the places are those of nobody  ARGV[3 ..] place and state (1 succeeded, 2 failed, 3 dead) of each member
-- Returns nil when there is no such batch, else how many callbacks have become due by this.
-- Invariant: a place is counted once, under its last state, and a success stays; each event becomes due at most once, in the step that brings it about.
local batch, states, adds, due, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, order = ARGV[1], ARGV[2]
local facts = redis.call('HMGET', batch, 'total', 'succeeded', 'failed', 'dead', 'withdrawn', 'sealed', 'completed', 'succeededAt', 'died', 'cancelled', 'events', 'expires')
if not facts[12] then return false end
redis.call('ZCARD', due) -- what can raise comes before the first write
redis.call('ZCARD', waiting)
redis.call('STRLEN', states)
local total, withdrawn = tonumber(facts[1]) or 0, tonumber(facts[5]) or 0
local counts = { tonumber(facts[2]) or 0, tonumber(facts[3]) or 0, tonumber(facts[4]) or 0 }
local sealed, completed, succeeded, died, cancelled, events = facts[6], facts[7], facts[8], facts[9], facts[10], facts[11] or ''
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local written = { 'seen', now }

-- What a member added and could not publish does not come any more: it would have done so in a later run.
local function withdraw(adder)
  local count = tonumber(redis.call('HGET', adds, adder) or 0)
  if count == 0 then return end
  for sequence = 0, count - 1 do
    local name = adder .. ':' .. sequence
    local first, size, confirmed = string.match(redis.call('HGET', adds, name) or '', '^(%d+) (%d+)(.*)$')
    if first and confirmed == '' then
      for place = first, first + size - 1 do
        if redis.call('BITFIELD', states, 'GET', 'u2', '#' .. place)[1] == 0 then
          redis.call('BITFIELD', states, 'SET', 'u2', '#' .. place, 1)
          withdrawn = withdrawn + 1
        end
      end
    end
    redis.call('HDEL', adds, name)
  end
  redis.call('HDEL', adds, adder)
end

local unsent = string.match(order, '^withdraw (.*)$')
if unsent then redis.call('HDEL', adds, unsent) end
local has_adds = not unsent and #ARGV > 2 and redis.call('EXISTS', adds) == 1
for i = 3, #ARGV, 2 do
  local place, state = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if place < total then
    local before = redis.call('BITFIELD', states, 'GET', 'u2', '#' .. place)[1]
    if unsent then
      if before == 0 then
        redis.call('BITFIELD', states, 'SET', 'u2', '#' .. place, 1)
        withdrawn = withdrawn + 1
      end
    elseif before ~= 1 and before ~= state then
      redis.call('BITFIELD', states, 'SET', 'u2', '#' .. place, state)
      if before > 0 then counts[before] = counts[before] - 1 end
      counts[state] = counts[state] + 1
    end
    if has_adds then withdraw(tostring(place)) end
  end
end

local function write(name, value)
  written[#written + 1], written[#written + 2] = name, value
end
if order == 'seal' and not sealed then
  sealed = now
  write('sealed', now)
end
if order == 'cancel' and not cancelled then
  cancelled = now
  write('cancelled', now)
end
local new = {}
local function happens(event, field)
  write(field, now)
  if string.find(events, event, 1, true) then new[#new + 1] = event end
end
local good = counts[1] + withdrawn
local ended = good + counts[2] + counts[3]
if not died and (order == 'die' or counts[2] + counts[3] > 0) then happens(cancelled and '-' or 'death', 'died') end
if sealed and ended == total then
  if not completed then
    completed = now
    happens('complete', 'completed')
  end
  if not succeeded and good == total then happens(cancelled and '-' or 'success', 'succeededAt') end
end
write('succeeded', counts[1])
write('failed', counts[2])
write('dead', counts[3])
write('withdrawn', withdrawn)
redis.call('HSET', batch, unpack(written))
for _, event in ipairs(new) do redis.call('ZADD', due, 'NX', now, event .. ' ' .. id) end
if completed then redis.call('ZREM', waiting, id) elseif sealed then redis.call('ZADD', waiting, now, id) end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], facts[12]) end
for i = 4, 5 do
  if redis.call('PTTL', KEYS[i]) < tonumber(facts[12]) then redis.call('PEXPIRE', KEYS[i], facts[12]) end
end
return #new
