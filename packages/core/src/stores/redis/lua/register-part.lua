-- register-part.lua, included by others: a member's part takes its place in its group, and the one that completes the group leaves the record of
-- what is due: field group of the hash `due`, "<ms until it may be claimed>\n<member>\n<root>\n<priority>". `first` is the index in KEYS of
-- parts (.j), added later (.t), size (.s) and Lovage's hash of the group, in this order; `open` is the key of the groups that are looked after.
-- The hash: body (the signature to be called), members (a line each), heading (root, newline, priority), seen (parts at the last look), since (ms), lost.
-- Returns whether this part completed the group.
-- Invariant: a member has one part; the first SUCCESS stays. Only a part that is new can complete, so a repetition never does.
-- As Celery's ZADD, ZCOUNT, GET .t and .s, EXPIRE (celery/backends/redis.py, on_chord_part_return), which counts a member twice when its second
-- part differs.
local function watch_group(open, group, lives, now_ms)
  if redis.call('ZADD', open, 'NX', now_ms + 1000, group) == 0 then return end
  if redis.call('ZCARD', open) > 100000 then redis.call('ZREMRANGEBYRANK', open, 0, 0) end
  if redis.call('TTL', open) < tonumber(lives) then redis.call('EXPIRE', open, lives) end
end

-- Once for each group of a call, however many of its parts come: nothing of it changes meanwhile. The group has a part by now.
local known_groups = {}
local function note_group(first, open, group, seconds, heading)
  local lives = seconds
  if seconds == '0' then
    lives = '604800' -- Celery's keys stay; ours do not
  else
    for i = first, first + 2 do redis.call('EXPIRE', KEYS[i], seconds) end
  end
  redis.call('HSETNX', KEYS[first + 3], 'heading', heading)
  redis.call('EXPIRE', KEYS[first + 3], lives)
  local now = redis.call('TIME')
  local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
  watch_group(open, group, lives, now_ms)
  local size = tonumber(redis.call('GET', KEYS[first + 2]) or nil)
  local needed = size and size + (tonumber(redis.call('GET', KEYS[first + 1]) or 0) or 0)
  return { needed = needed, lives = lives, now_ms = now_ms, has_body = false }
end

local function register_part(first, due, open, group, id, place, part, seconds, heading, body)
  local parts = KEYS[first]
  local before = redis.pcall('ZCARD', parts)
  if type(before) ~= 'number' then return false end -- a list: Celery's result_chord_ordered is off, which is not ours to count
  local stays = false
  if before > 0 then
    local head = string.match(part, '^%[1, ".-", ') -- JSON, as Python writes it too; other serializers begin with a few bytes and the id
    for _, old in ipairs(redis.call('ZRANGEBYSCORE', parts, place, place)) do
      local to
      if head then
        to = string.sub(old, 1, #head) == head and #head
      else
        local from, last = string.find(old, id, 1, true)
        to = from and from < 16 and last
      end
      if to then
        local state = string.find(old, 'SUCCESS', to, true)
        if state and state - to < 8 then stays = true else redis.call('ZREM', parts, old) end
      end
    end
  end
  if not stays then redis.call('ZADD', parts, place, part) end
  local known = known_groups[first]
  if not known then
    known = note_group(first, open, group, seconds, heading)
    known_groups[first] = known
  end
  if body ~= '' and not known.has_body then
    redis.call('HSETNX', KEYS[first + 3], 'body', body)
    known.has_body = true
  end
  local needed = known.needed
  if not needed or before >= needed or before + 1 < needed or redis.call('ZCARD', parts) < needed then return false end
  redis.call('HSET', due, group, string.format('%.0f', known.now_ms + 3000) .. '\n' .. id .. '\n' .. heading)
  if redis.call('TTL', due) < tonumber(known.lives) then redis.call('EXPIRE', due, known.lives) end
  return true
end
