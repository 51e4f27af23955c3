#!lua flags=allow-oom
-- reserve.lua: lend up to `want` messages to one worker, first what waits in its inboxes, then from its queues.
-- KEYS[1] loans of the worker, hash: loan -> envelope; and @epoch. A loan is its number with the caller's prefix, newline, list
-- KEYS[2 .. 1+2n] inbox and the list it belongs to, in pairs    KEYS[2+2n ..] lists, in the order they are to be tried
-- ARGV[1] epoch  ARGV[2] what loans begin with  ARGV[3] first loan number, chosen by the caller  ARGV[4] want, at most 512
-- ARGV[5] bytes of envelopes at most; one message always fits  ARGV[6] bytes of a usual envelope, 0 when not known  ARGV[7] n
-- ARGV[8..] how many lists form each step: lists of one step share what is wanted, a step begins when the one before is empty.
--   -n and a number: n lists, one after the other, which give at most so many together; a list may come again in a later step
-- Returns -1 when the epoch is not in force. Else 1 when the bytes ran out, or 0; then pairs of KEYS index and how many it lent; then the
-- envelopes in loan order. When there are none, the lengths of all lists have been read: a tracking client is told of the next push.
-- Invariant: an envelope is in its list, in an inbox, or in exactly one worker's loans, never in neither, whoever crashes.
-- kombu takes one message a BRPOP in the same order of lists (kombu/transport/redis.py, _brpop_start).
local loans, epoch, prefix, number = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local want, room, usual, inboxes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if redis.call('HGET', loans, '@epoch') ~= epoch then return -1 end

-- A key of a wrong type must raise before anything was taken from the others.
local length = {}
for i = 2, #KEYS do length[i] = redis.call('LLEN', KEYS[i]) end

local answer, counts, fields, written, lent, full = { 0, 0 }, {}, {}, 0, 0, false
answer[2] = counts

-- Takes up to `share` from the right end of `source`; KEYS[index] is the list they belong to. Returns how many.
local function take(source, index, share)
  local tail, taken = '\n' .. KEYS[index], 0
  while taken < share and not full do
    local portion = share - taken
    if usual == 0 then portion = math.min(portion, 8) else portion = math.max(1, math.min(portion, math.floor(room / usual))) end
    local envelopes = redis.call('RPOP', source, portion)
    if not envelopes then break end
    local before = room
    for i = 1, #envelopes do
      local envelope = envelopes[i]
      if lent > 0 and #envelope > room then
        for j = #envelopes, i, -1 do redis.call('RPUSH', source, envelopes[j]) end
        full = true
        break
      end
      lent, taken, room = lent + 1, taken + 1, room - #envelope
      answer[lent + 2] = envelope
      fields[written + 1], fields[written + 2] = prefix .. number .. tail, envelope -- as it came: an envelope that is changed here is copied twice more
      written, number = written + 2, number + 1
    end
    usual = math.max(1, (before - room) / #envelopes)
    if room <= 0 then full = true end
  end
  if taken > 0 then counts[#counts + 1], counts[#counts + 2] = index, taken end
  return taken
end

if inboxes > 0 then redis.call('HDEL', loans, '') end -- before Redis 7 a script that has written is not stopped by a full memory
for i = 2, 2 * inboxes, 2 do
  if length[i] > 0 then
    want = want - take(KEYS[i], i + 1, math.min(want, length[i]))
    while redis.call('LMOVE', KEYS[i], KEYS[i + 1], 'LEFT', 'RIGHT') do end -- more than is wanted goes back to the front
  end
end

local first, group = 2 + 2 * inboxes, 8
while group <= #ARGV do
  local size = tonumber(ARGV[group])
  local last, live = first + math.abs(size) - 1, {}
  if size < 0 then
    local most = math.min(want, tonumber(ARGV[group + 1]))
    for i = first, last do
      local taken = take(KEYS[i], i, math.min(most, length[i]))
      most, want = most - taken, want - taken
    end
    group = group + 1
  else
    for i = first, last do
      if length[i] > 0 then live[#live + 1] = i end
    end
  end
  while want > 0 and #live > 0 and not full do
    local share, still = math.ceil(want / #live), {}
    for _, i in ipairs(live) do
      local taken = take(KEYS[i], i, math.min(share, want, length[i]))
      want, length[i] = want - taken, length[i] - taken
      if length[i] > 0 then still[#still + 1] = i end
    end
    live = still
  end
  first, group = last + 1, group + 1
end

for from = 1, written, 1000 do redis.call('HSET', loans, unpack(fields, from, math.min(from + 999, written))) end
if full then answer[1] = 1 end
return answer
