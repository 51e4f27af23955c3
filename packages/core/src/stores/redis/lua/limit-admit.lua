#!lua flags=allow-oom
-- limit-admit.lua: say of messages on loan whether they may start now; those that may not are moved to the line of their queue.
-- KEYS[1..5], ARGV[1] as in limit-rules.lua   KEYS[6] loans of the worker   KEYS[7] places it holds, hash: loan -> ids   KEYS[8] holders, sorted set: worker -> ms
-- KEYS[9] queues with a line, set   KEYS[10..] line and turns of each queue, in pairs
-- ARGV[2] worker   ARGV[3] '1' when this may be a repetition   ARGV[4] the queues' names, newlines between
-- ARGV[5] sets of limits, then as many: number of the queue's pair, form feed, ids with form feeds between
-- then for each message: number of its set, form feed, expires or '', form feed, length of its id, form feed, id, loan
-- Returns in how many ms the next turn may be, -1 for never; then for each message -2 when it waits, -1 when its loan is gone, else 2 x ms until it may start, + 1 when it holds places.
-- Invariant: an envelope is in the loans or in the line, never in neither. Of messages of one limit none overtakes another that waits.
-- @include limit-rules
local loans, holds, sets = KEYS[6], KEYS[7], {}
redis.call('HLEN', loans)
redis.call('HLEN', holds)
redis.call('ZCARD', KEYS[8])
redis.call('SCARD', KEYS[9])
for i = 10, #KEYS do redis.call('ZCARD', KEYS[i]) end

local any_kept = redis.call('ZCARD', KEYS[4]) > 0
local turns_of = {} -- of each queue: limit -> when its first may have its turn, false when none waits
local names = string.gmatch(ARGV[4], '[^\n]+')
for i = 11, #KEYS, 2 do turns_of[KEYS[i]] = { queue = names(), is_empty = redis.call('ZCARD', KEYS[i]) == 0, by_limit = {} } end
for i = 6, 5 + tonumber(ARGV[5]) do
  local queue, ids = string.match(ARGV[i], '^(%d+)\f(.*)$')
  local pair = 10 + 2 * (tonumber(queue) - 1)
  sets[#sets + 1] = { text = ids, limits = split(ids), line = KEYS[pair], turns = KEYS[pair + 1], known = turns_of[KEYS[pair + 1]] }
end

-- Returns a limit of the set under which others wait already, and when the first of them may have its turn.
local function line_before(set)
  local by_limit = set.known.by_limit
  for _, id in ipairs(set.limits) do
    local turn = by_limit[id]
    if turn == nil then
      turn = not set.known.is_empty and tonumber(redis.call('ZSCORE', set.turns, id) or '') or false
      by_limit[id] = turn
    end
    if turn then return id, turn end
  end
end

local answer, held, gone, next_turn = { -1 }, {}, {}, nil
for i = 6 + #sets, #ARGV do
  local request = ARGV[i]
  local number, expires, length, at = string.match(request, '^(%d+)\f([%d.]*)\f(%d+)\f()')
  local set, rest = sets[tonumber(number)], at + tonumber(length)
  local start, places, turn -- or: nothing, the limit that it waits under, and when that may give a turn
  if any_kept then
    start, places = take_kept(string.sub(request, at, rest - 1))
    if start and start < now - KEPT then
      if places then leave(places) end
      start, places = nil, nil
    end
  end
  if not start then
    start, places, turn = nil, line_before(set)
    if not places then
      start, places, turn = judge(set.limits, now)
      if start then charge(set.limits, start) end
    end
  end
  if start then
    if places then held[#held + 1], held[#held + 2] = string.sub(request, rest), places end
    answer[#answer + 1] = 2 * math.max(0, math.ceil(start - now)) + (places and 1 or 0)
  else
    local loan = string.sub(request, rest)
    local envelope = redis.call('HGET', loans, loan)
    if envelope then
      local list = string.sub(loan, (string.find(loan, '\n', 1, true)) + 1)
      local since = string.format('%016.0f%03d', now * 1000, #answer % 1000)
      redis.call('ZADD', set.line, 0, line_entry(places, since, expires, set.text, list, string.sub(request, at, rest - 1), envelope))
      redis.call('ZADD', set.turns, 'LT', string.format('%.3f', turn), places)
      set.known.by_limit[places] = turn
      if set.known.is_empty then
        redis.call('SADD', KEYS[9], set.known.queue)
        set.known.is_empty = false
      end
      gone[#gone + 1] = loan
      if not next_turn or turn < next_turn then next_turn = turn end
      answer[#answer + 1] = -2
    elseif ARGV[3] == '1' then
      answer[#answer + 1] = -2 -- moved the first time
    else
      answer[#answer + 1] = -1
    end
  end
end

for from = 1, #held, 1000 do redis.call('HSET', holds, unpack(held, from, math.min(from + 999, #held))) end
if #held > 0 then redis.call('ZADD', KEYS[8], string.format('%.0f', now), ARGV[2]) end
write_back()
for from = 1, #gone, 1000 do redis.call('HDEL', loans, unpack(gone, from, math.min(from + 999, #gone))) end
if next_turn then answer[1] = math.max(0, math.ceil(next_turn - now)) end
return answer
