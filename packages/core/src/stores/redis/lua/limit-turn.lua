#!lua flags=allow-oom
-- limit-turn.lua: give back places and starts, hold limits back, and give turns to those that wait: they become loans of the worker that
-- asks, when it takes them and they need no place, else they return to the front of their queue with a start that is kept for them.
-- KEYS[1..5], ARGV[1] as in limit-rules.lua   KEYS[6] places a worker holds   KEYS[7] holders   KEYS[8] leases
-- KEYS[9] queues with a line   KEYS[10] loans of the worker   KEYS[11..] for each queue: line, turns, and its lists
-- ARGV[2] worker of KEYS[6]   ARGV[3] turns to give at most   ARGV[4] lists of each queue   ARGV[5] the queues' names, newlines between
-- ARGV[6] epoch of the loans  ARGV[7] what they begin with  ARGV[8] first loan number, chosen by the caller
-- ARGV[9] loans to make at most, 0 when it takes none  ARGV[10] their bytes at most
-- ARGV[11] what else is to be done with ARGV[12..]:
--   '' nothing | flush: nothing, and everybody has a turn, whatever the limits say | release: loans whose places are free | forget: the worker, if it has no lease, with all its places
--   | giveUp: for each message its id, its limits with form feeds between, and the start that came with its loan or '' | hold: for how many ms, then ids | recheck: names of limits
-- Returns how many went back to their queue; in how many ms the next may be, -1 for never; for those that are loans now, in the order of their
-- numbers: key of the list, start in ms since 1970, in how many ms that is, envelope; then holders that have no lease.
-- Invariant: an envelope is in the line, in its list, or in exactly one worker's loans, never in neither.
-- @include limit-rules
local holds, want, lists, names, what = KEYS[6], tonumber(ARGV[3]), tonumber(ARGV[4]), string.gmatch(ARGV[5], '[^\n]+'), ARGV[11]
local loans, prefix, number, room, bytes = KEYS[10], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
if room > 0 and redis.call('HGET', loans, '@epoch') ~= ARGV[6] then room = 0 end
redis.call('HLEN', holds)
redis.call('ZCARD', KEYS[7])
redis.call('SCARD', KEYS[9])
local queues, known = {}, {}
for i = 11, #KEYS, 2 + lists do
  redis.call('ZCARD', KEYS[i])
  local queue = { name = names(), line = KEYS[i], turns = KEYS[i + 1], first = KEYS[i + 2], is_used = redis.call('ZCARD', KEYS[i + 1]) > 0 }
  for j = i + 2, i + 1 + lists do
    redis.call('LLEN', KEYS[j])
    known[KEYS[j]] = true
  end
  queues[#queues + 1] = queue
end

local freed = {}
local function free(places)
  leave(places)
  for _, id in ipairs(split(places)) do freed[id] = true end
end

if what == 'release' then
  for i = 12, #ARGV do
    local places = redis.call('HGET', holds, ARGV[i])
    if places then
      redis.call('HDEL', holds, ARGV[i])
      free(places)
    end
  end
elseif what == 'forget' then
  if not redis.call('ZSCORE', KEYS[8], ARGV[2]) then
    for _, places in ipairs(redis.call('HVALS', holds)) do free(places) end
    redis.call('DEL', holds)
    redis.call('ZREM', KEYS[7], ARGV[2])
  end
elseif what == 'giveUp' then
  for i = 12, #ARGV, 3 do
    local start, places = take_kept(ARGV[i])
    if start or ARGV[i + 2] ~= '' then
      if places then free(places) end
      for _, id in ipairs(split(ARGV[i + 1])) do
        local spec = spec_of(id)
        if spec and spec.interval > 0 then set_tat(id, tat_of(id) - spec.interval) end
        freed[id] = true
      end
    end
  end
elseif what == 'hold' then
  for i = 13, #ARGV do
    local spec = spec_of(ARGV[i]) or { burst = 1, interval = 0 }
    set_tat(ARGV[i], math.max(tat_of(ARGV[i]), now + tonumber(ARGV[12]) + (spec.burst - 1) * spec.interval))
  end
end

local changed = {}
if what == 'recheck' then
  for i = 12, #ARGV do changed[ARGV[i]] = true end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.3f', now), '+inf')) do
    if changed[string.match(id, '^[^\t]*')] then
      local spec = spec_of(id) or { burst = 0, interval = 0 }
      set_tat(id, math.min(tat_of(id), now + spec.burst * spec.interval))
    end
  end
end

if what ~= 'recheck' and what ~= 'hold' and what ~= 'flush' then
  for _, message in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.3f', now - KEPT), 'LIMIT', 0, 256)) do
    local _, places = take_kept(message)
    if places then free(places) end
  end
end

for _, queue in ipairs(queues) do
  if queue.is_used then
    for id in pairs(freed) do redis.call('ZADD', queue.turns, 'XX', 'LT', string.format('%.3f', now), id) end
    if what == 'recheck' then
      for _, id in ipairs(redis.call('ZRANGE', queue.turns, 0, -1)) do
        if changed[string.match(id, '^[^\t]*')] then redis.call('ZADD', queue.turns, 'LT', string.format('%.3f', now), id) end
      end
    end
  end
end

local moved, kept, kept_places, pushed = 0, {}, {}, {}
if what ~= 'flush' then want = math.min(want, KEPT_MOST - redis.call('ZCARD', KEYS[4])) end -- who was woken must be taken first

local function push(list, envelope)
  local envelopes = pushed[list]
  if not envelopes then
    envelopes = {}
    pushed[list] = envelopes
  end
  envelopes[#envelopes + 1] = envelope
end

local handed, lent = {}, {}

-- Makes a loan of it. False when the worker takes no more.
local function hand_over(list, envelope, start)
  if room == 0 or #envelope > bytes then return false end
  lent[#lent + 1], lent[#lent + 2] = prefix .. string.format('%d', number) .. '\n' .. list, envelope
  local at = #handed
  handed[at + 1], handed[at + 2], handed[at + 3], handed[at + 4] = list, string.format('%.3f', start), math.max(0, math.ceil(start - now)), envelope
  number, room, bytes = number + 1, room - 1, bytes - #envelope
  return true
end

-- Of the queue that has its turn: limit -> when the next may have one, false when none waits; and entries of its line that wait no more.
-- Written when all are through: where a limit comes once, as each of many keys does, a call for each would cost the most.
local turn_of, ended = {}, {}

-- Gives turns under one limit. Returns when the next may have one; nothing when none waits any more.
local function advance(queue, limit)
  local tries, passed, from, to, portion = 0, 0, '[' .. limit .. '\n', '(' .. limit .. '\11', 2
  while moved < want and tries < 64 do
    local entries = redis.call('ZRANGEBYLEX', queue.line, from, to, 'LIMIT', passed, portion)
    if #entries == 0 then return end
    portion = math.min(32, portion * 4)
    for _, entry in ipairs(entries) do
      if moved >= want then return now end
      local since, expires, limits, list, length, at =
        string.match(entry, '^(%d+)\n([%d.]*)\n([^\n]*)\n([^\n]*)\n(%d+)\n()', #limit + 2)
      local envelope_at = at + tonumber(length)
      local target = known[list] and list or queue.first
      if what == 'flush' or (expires ~= '' and tonumber(expires) < now) then
        ended[#ended + 1], passed = entry, passed + 1
        push(target, string.sub(entry, envelope_at))
        moved = moved + 1
      else
        local under = split(limits)
        local start, places, turn = judge(under, tonumber(string.sub(since, 1, 16)) / 1000)
        if not start and places == limit then return turn end
        ended[#ended + 1], passed = entry, passed + 1
        if start then
          local envelope = string.sub(entry, envelope_at)
          charge(under, start)
          if places or not hand_over(target, envelope, start) then
            local message = string.sub(entry, at, envelope_at - 1)
            if kept_places[message] then leave(kept_places[message]) end
            kept[message], kept_places[message] = string.format('%.3f', start), places
            push(target, envelope)
          end
          moved = moved + 1
        else -- another of its limits holds it up: it waits there, at the place that it came to first
          redis.call('ZADD', queue.line, 0, places .. string.sub(entry, #limit + 1))
          local known_turn = turn_of[places]
          if known_turn == nil then
            redis.call('ZADD', queue.turns, 'LT', string.format('%.3f', turn), places)
          elseif not known_turn or turn < known_turn then
            turn_of[places] = turn
          end
          tries = tries + 1
        end
      end
    end
  end
  if redis.call('ZLEXCOUNT', queue.line, from, to) > passed then return now end
end

local next_turn
for _, queue in ipairs(queues) do
  if queue.is_used then
    if want > 0 then
      local due = redis.call('ZRANGEBYSCORE', queue.turns, '-inf', what == 'flush' and '+inf' or string.format('%.3f', now + LOOKAHEAD), 'LIMIT', 0, 256)
      turn_of, ended = {}, {}
      prefetch(due)
      for _, limit in ipairs(due) do
        if moved >= want then break end
        turn_of[limit] = advance(queue, limit) or false
      end
      by_portions(#ended, function(from, to) redis.call('ZREM', queue.line, unpack(ended, from, to)) end)
      local turns, over = {}, {}
      for limit, turn in pairs(turn_of) do
        if turn then turns[#turns + 1], turns[#turns + 2] = string.format('%.3f', turn), limit else over[#over + 1] = limit end
      end
      add_pairs(queue.turns, false, turns)
      by_portions(#over, function(from, to) redis.call('ZREM', queue.turns, unpack(over, from, to)) end)
    end
    local first = redis.call('ZRANGE', queue.turns, 0, 0, 'WITHSCORES')[2]
    if not first then redis.call('SREM', KEYS[9], queue.name) end
    if first and (not next_turn or tonumber(first) < next_turn) then next_turn = tonumber(first) end
  end
end

by_portions(#lent, function(from, to) redis.call('HSET', loans, unpack(lent, from, to)) end)
-- Two messages of one id: what is kept is for the first that comes, and the other asks anew.
local messages = {}
for message in pairs(kept) do messages[#messages + 1] = message end
by_portions(#messages, function(from, to)
  for i, start in ipairs(redis.call('ZMSCORE', KEYS[4], unpack(messages, from, to))) do
    if start then
      local _, before = take_kept(messages[from + i - 1])
      if before then leave(before) end
    end
  end
end)
local starts, places_of = {}, {}
for message, start in pairs(kept) do
  starts[#starts + 1], starts[#starts + 2] = start, message
  if kept_places[message] then places_of[#places_of + 1], places_of[#places_of + 2] = message, kept_places[message] end
end
add_pairs(KEYS[4], false, starts)
by_portions(#places_of, function(from, to) redis.call('HSET', KEYS[5], unpack(places_of, from, to)) end)
write_back()
for list, envelopes in pairs(pushed) do -- the last that is pushed is taken first
  local reversed = {}
  for i = #envelopes, 1, -1 do reversed[#reversed + 1] = envelopes[i] end
  by_portions(#reversed, function(from, to) redis.call('RPUSH', list, unpack(reversed, from, to)) end)
end

local answer = { moved - #lent / 2, next_turn and math.max(0, math.ceil(next_turn - now)) or -1, handed }
local holders = redis.call('ZRANGE', KEYS[7], 0, 63)
for _, worker in ipairs(holders) do
  if worker ~= ARGV[2] and not redis.call('ZSCORE', KEYS[8], worker) then answer[#answer + 1] = worker end
end
if #holders == 64 and #answer == 3 then -- more than are looked at: the living go behind the others
  for _, worker in ipairs(holders) do redis.call('ZADD', KEYS[7], string.format('%.0f', now), worker) end
end
return answer
