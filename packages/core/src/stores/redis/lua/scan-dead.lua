-- scan-dead.lua: look through dead letters from the newest to the oldest, for those that match.
-- KEYS[1] dead letters  KEYS[2] their index
-- ARGV[1] where to begin: +inf, or ( and the cursor of the last answer  ARGV[2] letters to look at, at most  ARGV[3] letters wanted, at most
-- ARGV[4] what to do: letters (give them) | reasons (count them) | purge (discard them)
-- ARGV[5] filter as JSON: reasons, tasks (objects with the accepted names as keys), since, before (ms); each may be missing
-- Returns the cursor, '' at the end, then for letters: id, letter ..; for reasons: reason, count ..; for purge: how many.
-- One call is bounded by what it looks at, in letters and in bytes, whatever is there.
local hash, index, wanted, what, filter = KEYS[1], KEYS[2], tonumber(ARGV[3]), ARGV[4], cjson.decode(ARGV[5])
local listed = redis.call('ZREVRANGEBYSCORE', index, ARGV[1], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local is_filtered = filter.reasons or filter.tasks or filter.since or filter.before
local answer, counts, found, bytes, cursor = {}, {}, 0, 0, ''
for i = 1, #listed, 2 do
  if found >= wanted or bytes > 8388608 then break end
  local id = listed[i]
  cursor = listed[i + 1]
  local letter = redis.call('HGET', hash, id)
  if letter then
    bytes = bytes + #letter
    local record = (is_filtered or what == 'reasons') and cjson.decode(string.sub(letter, 1, string.find(letter, '\n', 1, true) - 1))
    local fits = not is_filtered
      or (not filter.reasons or filter.reasons[record.reason])
      and (not filter.tasks or record.task and filter.tasks[record.task])
      and (not filter.since or record.at >= filter.since)
      and (not filter.before or record.at < filter.before)
    if fits then
      found = found + 1
      if what == 'letters' then
        answer[#answer + 1], answer[#answer + 2] = id, letter
      elseif what == 'reasons' then
        counts[record.reason] = (counts[record.reason] or 0) + 1
      else
        redis.call('HINCRBY', hash, '@bytes', -#letter)
        redis.call('HDEL', hash, id)
        redis.call('ZREM', index, id)
      end
    end
  end
end
if #listed < 2 * tonumber(ARGV[2]) and cursor == (listed[#listed] or '') then cursor = '' end
if what == 'purge' then
  answer[1] = tostring(found)
  if redis.call('ZCARD', index) == 0 then redis.call('DEL', hash) end
end
for reason, count in pairs(counts) do answer[#answer + 1], answer[#answer + 2] = reason, tostring(count) end
table.insert(answer, 1, cursor)
return answer
