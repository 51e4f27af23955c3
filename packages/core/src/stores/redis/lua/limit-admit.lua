#!lua flags=allow-oom
-- limit-admit.lua: say of messages on loan whether they may start now; those that may not are moved to the line of their queue.
-- KEYS[1..5], ARGV[1] as in limit-rules.lua   KEYS[6] loans of the worker   KEYS[7] places it holds, hash: loan -> ids   KEYS[8] holders, sorted set: worker -> ms
-- KEYS[9] queues with a line, set   KEYS[10..] line and turns of each queue, in pairs
-- ARGV[2] worker   ARGV[3] '1' when this may be a repetition   ARGV[4] the queues' names, newlines between
-- ARGV[5] sets of limits, then as many: number of the queue's pair, form feed, ids with form feeds between
-- then the numbers of the messages' sets with commas between, '' when there is one set
-- then each message: expires or '', form feed, start that it came with or '', form feed, length of its id, form feed, id, loan
-- Returns in how many ms the next turn may be, -1 for never; then for each message -2 when it waits, -1 when its loan is gone, else 2 x ms until it may start, + 1 when it holds places.
-- Invariant: an envelope is in the loans or in the line, never in neither. Of messages of one limit none overtakes another that waits.
-- @include limit-rules
local loans, holds, sets = KEYS[6], KEYS[7], {}
redis.call('HLEN', loans)
redis.call('HLEN', holds)
redis.call('ZCARD', KEYS[8])
redis.call('SCARD', KEYS[9])
local lines, names = {}, string.gmatch(ARGV[4], '[^\n]+')
for i = 10, #KEYS, 2 do
  redis.call('ZCARD', KEYS[i])
  -- turn_of: limit -> when the first that waits there may have its turn, false when none waits
  lines[#lines + 1] = {
    key = KEYS[i], turns = KEYS[i + 1], queue = names(), was_empty = redis.call('ZCARD', KEYS[i + 1]) == 0, turn_of = {}, entries = {}, waits = {}, new_turns = {},
  }
end

local ids, is_known = {}, {}
for i = 6, 5 + tonumber(ARGV[5]) do
  local queue, text = string.match(ARGV[i], '^(%d+)\f(.*)$')
  local set = { text = text, limits = split(text), line = lines[tonumber(queue)] }
  sets[#sets + 1] = set
  for _, id in ipairs(set.limits) do
    if not is_known[id] then
      is_known[id] = true
      ids[#ids + 1] = id
    end
  end
end
local has_turn = {}
for _, line in ipairs(lines) do
  if not line.was_empty then
    by_portions(#ids, function(from, to)
      for i, turn in ipairs(redis.call('ZMSCORE', line.turns, unpack(ids, from, to))) do
        local id = ids[from + i - 1]
        line.turn_of[id] = tonumber(turn or '')
        if turn then has_turn[id] = true end
      end
    end)
  end
end
local free = {} -- whoever comes to a limit that others wait under is judged by that alone, as a rule
for _, id in ipairs(ids) do
  if not has_turn[id] then free[#free + 1] = id end
end
prefetch(ids, free)

local first = 7 + #sets
local count = #ARGV - first + 1
local number_of = #sets > 1 and string.gmatch(ARGV[first - 1], '%d+')

local function read(request)
  local expires, start, length, at = string.match(request, '^([%d.]*)\f([%d.]*)\f(%d+)\f()')
  local ends = at + tonumber(length)
  return string.sub(request, at, ends - 1), string.sub(request, ends), expires, start
end

-- Starts that were kept for these messages: taken out, whether or not they are still good.
local messages, kept, kept_places = {}, {}, {}
if redis.call('ZCARD', KEYS[4]) > 0 then
  local taken = {}
  for i = first, #ARGV do messages[#messages + 1] = (read(ARGV[i])) end
  by_portions(#messages, function(from, to)
    for i, start in ipairs(redis.call('ZMSCORE', KEYS[4], unpack(messages, from, to))) do
      local message = messages[from + i - 1]
      if start and not kept[message] then
        kept[message] = tonumber(start)
        taken[#taken + 1] = message
      end
    end
  end)
  by_portions(#taken, function(from, to)
    for i, places in ipairs(redis.call('HMGET', KEYS[5], unpack(taken, from, to))) do kept_places[taken[from + i - 1]] = places or nil end
    redis.call('ZREM', KEYS[4], unpack(taken, from, to))
    redis.call('HDEL', KEYS[5], unpack(taken, from, to))
  end)
end
local any_kept = next(kept) ~= nil

local held_before = {} -- by the first sending of this call
if ARGV[3] == '1' then
  for i = 1, count do
    local _, loan = read(ARGV[first + i - 1])
    held_before[i] = redis.call('HEXISTS', holds, loan) == 1
  end
end

local answer, held, waiting, next_turn = { -1 }, {}, {}, nil
for i = 1, count do
  local set = number_of and sets[tonumber(number_of())] or sets[1]
  local request = ARGV[first + i - 1]
  local start, places, turn -- or: nothing, the limit that it waits under, and when that may give a turn
  if any_kept then
    local message = messages[i]
    start, places = kept[message], kept_places[message]
    kept[message], kept_places[message] = nil, nil
  end
  if not start then start = tonumber(string.match(request, '^[%d.]*\f([%d.]+)')) end
  if start then
    if start < now - KEPT then
      if places then leave(places) end
      start, places = nil, nil
    elseif start < now then
      use_late(set.limits)
    end
  end
  if not start and not held_before[i] then
    local turn_of = set.line.turn_of
    for _, id in ipairs(set.limits) do
      if turn_of[id] then
        places, turn = id, turn_of[id]
        break
      end
    end
    if not places then
      start, places, turn = judge(set.limits, now)
      if start then charge(set.limits, start) end
    end
  end
  if held_before[i] then
    answer[i + 1] = 1
  elseif start then
    if places then
      local _, loan = read(request)
      held[#held + 1], held[#held + 2] = loan, places
    end
    answer[i + 1] = 2 * math.max(0, math.ceil(start - now)) + (places and 1 or 0)
  else
    local line = set.line
    if line.turn_of[places] ~= turn then line.turn_of[places], line.new_turns[places] = turn, turn end
    waiting[#waiting + 1] = { at = i, set = set, limit = places, turn = turn }
  end
end

local gone, wanted = {}, {}
for _, each in ipairs(waiting) do
  each.message, each.loan, each.expires = read(ARGV[first + each.at - 1])
  wanted[#wanted + 1] = each.loan
end
local envelopes = {}
by_portions(#wanted, function(from, to)
  for i, envelope in ipairs(redis.call('HMGET', loans, unpack(wanted, from, to))) do envelopes[from + i - 1] = envelope end
end)
local since = string.format('%016.0f', now * 1000)
for i, each in ipairs(waiting) do
  local envelope, line = envelopes[i], each.set.line
  if envelope then
    local list = string.sub(each.loan, (string.find(each.loan, '\n', 1, true)) + 1)
    local entries = line.entries
    entries[#entries + 1] = '0'
    entries[#entries + 1] = each.limit .. '\n' .. since .. string.format('%03d', i % 1000) .. '\n' .. each.expires .. '\n' .. each.set.text .. '\n' .. list
      .. '\n' .. #each.message .. '\n' .. each.message .. envelope
    line.waits[each.limit] = true
    if not next_turn or each.turn < next_turn then next_turn = each.turn end
    gone[#gone + 1] = each.loan
    answer[each.at + 1] = -2
  else
    answer[each.at + 1] = ARGV[3] == '1' and -2 or -1 -- moved the first time, or another's
  end
end

for _, line in ipairs(lines) do
  local turns = {}
  for id, turn in pairs(line.new_turns) do
    if line.waits[id] then turns[#turns + 1], turns[#turns + 2] = string.format('%.3f', turn), id end
  end
  add_pairs(line.key, false, line.entries)
  add_pairs(line.turns, 'LT', turns)
  if line.was_empty and #turns > 0 then redis.call('SADD', KEYS[9], line.queue) end
end
by_portions(#held, function(from, to) redis.call('HSET', holds, unpack(held, from, to)) end)
if #held > 0 then redis.call('ZADD', KEYS[8], string.format('%.0f', now), ARGV[2]) end
write_back()
by_portions(#gone, function(from, to) redis.call('HDEL', loans, unpack(gone, from, to)) end)
if next_turn then answer[1] = math.max(0, math.ceil(next_turn - now)) end
return answer
