#!lua flags=allow-oom
-- settle.lua: end loans of one worker, each together with the results and messages that follow from it.
-- KEYS[1] loans of the worker  KEYS[2] queues with parked messages  KEYS[3 ..] lists that are pushed to, sorted sets of parked messages,
-- pairs of dead letters and their index, results and fours of keys of groups (register-part.lua), and results of ARGV[10], in this order
-- ARGV[1] epoch  ARGV[2] '1' when this may be a repetition  ARGV[3] database of the loans  ARGV[4] of the results, '' when the same
-- ARGV[5] lists  ARGV[6] sets of parked  ARGV[7] pairs of dead  ARGV[8] caps of dead letters: how many, bytes, age in ms  ARGV[9] loans that are just acknowledged
-- ARGV[10] loans that are acknowledged with one result, the usual case, which is told in few words  ARGV[11] seconds that those results live, or 0
-- ARGV[12..] the loans of ARGV[9]; loan and document for each of ARGV[10]; then for each other loan:
--   loan, and how it ends: a (ack) | f list envelope (to the front) | b list envelope (to the back) | r list (to the front as it was)
--     | k parked due queue envelope, '' as it was (kept aside) | d dead id record (dead letter); then
--   number of results, for each: key, seconds to live or 0, document; number of parts, and when there are any the keys of due and of open groups; for each part:
--   first of its group's four keys, group, task, place, part, seconds, root and priority, body or = and the ARGV that it stands in; number of messages, for each:
--   list envelope, or 0 channel envelope, or u and what becomes of a lock (end-unique.lua): first of its lock, all locks, parked messages, list;
--   name, id, what, value, queue
-- A delivery that came through a channel has no loan: it is written '', ends with a, and what follows from it is written in any case.
-- Where a list, set, pair or key is meant, its index in KEYS is given.
-- Returns 1 when all loans were there, else a text with 1 or 0 for each, in order; 2 for one that was there and a part of which completed its group.
-- Invariant: results and messages are written only for a loan that is there, and removing it is the last write. Whoever takes loans away
-- (sweep, release) removes @epoch first: while it is the caller's, all of the caller's loans are there.
-- Results as Celery's: SUCCESS is never overwritten, SETEX and PUBLISH (celery/backends/redis.py, _set; base.py, _store_result).
-- SET with GET tells in one call what was there, and that is nothing but for a task that runs again.
local loans, due, repeated, home, away = KEYS[1], KEYS[2], ARGV[2] == '1', ARGV[3], ARGV[4]
local lists, parked, dead, plain = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[9])
local usual, usual_seconds = tonumber(ARGV[10]), ARGV[11]
local trusted = not repeated and redis.call('HGET', loans, '@epoch') == ARGV[1]

-- What can raise is done before the first write.
if #ARGV > 11 + plain then
  local at = 3
  for i = at, at + lists - 1 do redis.call('LLEN', KEYS[i]) end
  at = at + lists
  for i = at, at + parked - 1 do redis.call('ZCARD', KEYS[i]) end
  at = at + parked
  for i = at, at + 2 * dead - 1, 2 do
    redis.call('HLEN', KEYS[i])
    redis.call('ZCARD', KEYS[i + 1])
  end
  redis.call('ZCARD', due)
  redis.call('HDEL', loans, '') -- before Redis 7 a script that has written is not stopped by a full memory
end

local gone, answers, missing = {}, {}, false

local function is_there(loan)
  if loan == '' then
    answers[#answers + 1] = '1'
    return true
  end
  local there = trusted or redis.call('HEXISTS', loans, loan) == 1
  answers[#answers + 1] = there and '1' or '0'
  if there then gone[#gone + 1] = loan else missing = true end
  return there
end

for i = 12, 11 + plain do is_there(ARGV[i]) end
local is_usual = {}
for i = 1, usual do is_usual[i] = is_there(ARGV[10 + plain + 2 * i]) end

-- @include store-result
-- @include register-part
-- @include end-unique

local ENDS = { a = 0, f = 2, b = 2, r = 1, k = 4, d = 3 }
local records, at = {}, 12 + plain + 2 * usual
while at <= #ARGV do
  local finish = at + 2 + ENDS[ARGV[at + 1]]
  local results = tonumber(ARGV[finish])
  local parts_at = finish + 1 + 3 * results
  local parts = tonumber(ARGV[parts_at])
  local messages_at = parts_at + 1
  if parts > 0 then messages_at = messages_at + 2 + 8 * parts end
  local messages = tonumber(ARGV[messages_at])
  if is_there(ARGV[at]) then records[#records + 1] = { at, finish + 1, results, messages_at + 1, messages, parts_at, #answers } end
  at = messages_at + 1
  for _ = 1, messages do at = at + (ARGV[at] == '0' and 3 or ARGV[at] == 'u' and 7 or 2) end
end

if away ~= '' then redis.call('SELECT', away) end
for i = 1, usual do
  if is_usual[i] then store(KEYS[#KEYS - usual + i], usual_seconds, ARGV[11 + plain + 2 * i]) end
end
for _, record in ipairs(records) do
  for i = record[2], record[2] + 3 * record[3] - 1, 3 do
    store(KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2])
  end
  local i = record[6] + 3
  for _ = 1, tonumber(ARGV[record[6]]) do
    local body = ARGV[i + 7]
    if string.byte(body, 1) == 61 then body = ARGV[tonumber(string.sub(body, 2))] end
    local first, group, task, place, part, seconds, heading = unpack(ARGV, i, i + 6)
    local due_groups, open = KEYS[tonumber(ARGV[record[6] + 1])], KEYS[tonumber(ARGV[record[6] + 2])]
    if register_part(tonumber(first), due_groups, open, group, task, place, part, seconds, heading, body) then
      answers[record[7]], missing = '2', true
    end
    i = i + 8
  end
end
if away ~= '' then redis.call('SELECT', home) end

local function stored(loan) return redis.call('HGET', loans, loan) or '' end

-- @include bury-letter

for _, record in ipairs(records) do
  local first = record[1]
  local loan, how = ARGV[first], ARGV[first + 1]
  local i = record[4]
  for _ = 1, record[5] do
    if ARGV[i] == '0' then
      redis.pcall('PUBLISH', ARGV[i + 1], ARGV[i + 2])
      i = i + 3
    elseif ARGV[i] == 'u' then
      local lock = tonumber(ARGV[i + 1])
      end_unique(KEYS[lock], KEYS[lock + 1], KEYS[lock + 2], due, KEYS[lock + 3], unpack(ARGV, i + 2, i + 6))
      i = i + 7
    else
      redis.call('LPUSH', KEYS[tonumber(ARGV[i])], ARGV[i + 1])
      i = i + 2
    end
  end
  local target = how ~= 'a' and KEYS[tonumber(ARGV[first + 2])]
  if how == 'f' then
    redis.call('RPUSH', target, ARGV[first + 3])
  elseif how == 'b' then
    redis.call('LPUSH', target, ARGV[first + 3])
  elseif how == 'r' then
    redis.call('RPUSH', target, stored(loan))
  elseif how == 'k' then
    local due_at, queue, envelope = ARGV[first + 3], ARGV[first + 4], ARGV[first + 5]
    if envelope == '' then envelope = stored(loan) end
    redis.call('ZADD', target, due_at, loan .. '\n' .. envelope)
    redis.call('ZADD', due, 'LT', due_at, queue)
  elseif how == 'd' then
    bury_letter(target, KEYS[tonumber(ARGV[first + 2]) + 1], ARGV[first + 3], ARGV[first + 4] .. string.sub(loan, string.find(loan, '\n', 1, true) or 1) .. '\n' .. stored(loan), ARGV[8])
  end
end

for from = 1, #gone, 1000 do redis.call('HDEL', loans, unpack(gone, from, math.min(from + 999, #gone))) end
if not missing then return 1 end
return table.concat(answers)
