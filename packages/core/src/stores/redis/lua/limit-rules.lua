-- limit-rules.lua: what the scripts of limits share; put in front of each. The same rules in brokers/limit-ledger.ts and gcra.ts.
-- KEYS[1] specs, hash: 'd:' name, 's:' id -> interval|burst|concurrency, or '-'   KEYS[2] tats, sorted set: id -> ms
-- KEYS[3] running, hash: id -> how many   KEYS[4] kept starts, sorted set: message -> ms   KEYS[5] places of kept starts, hash: message -> ids
-- ARGV[1] now in ms since 1970, '' for Redis's own clock
-- A line of those that wait is a sorted set, all of the score 0, one for each queue: limit, newline, since (microseconds, 16 digits) and 3 digits,
-- newline, expires or '', newline, limits with form feeds between, newline, list, newline, length of the message's id, newline, id, envelope.
-- A queue's turns are a sorted set: limit -> when the first that waits under it may have its turn, ms.
-- Nothing is written before the end of the rules: what is read is read once, and `write_back` writes it.
local LOOKAHEAD, CATCH_UP, DENSE, KEPT, KEPT_MOST, PLACE_LOOK = 200, 500, 100, 5000, 1000, 5000
local FEW = 32 -- so many specs are read together, rather than one for each key

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + time[2] / 1000
end
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[4])
redis.call('HLEN', KEYS[5])
redis.call('HDEL', KEYS[3], '') -- before Redis 7 a script that has written is not stopped by a full memory

local specs, tats, runnings, new_tats, changes = {}, {}, {}, {}, {}
local few -- field -> spec, of all, when there are few of them

-- Calls with at most 500 values at once: there is an end to Lua's stack. `each(from, to)` has its turn for each portion.
local function by_portions(count, each)
  for from = 1, count, 500 do each(from, math.min(from + 499, count)) end
end

local function read_spec(own, of_name, declared)
  local interval, burst, most = string.match(own or of_name or declared or '-', '^([^|]*)|([^|]*)|([^|]*)$')
  if not burst or not tonumber(burst) then return false end
  return { interval = tonumber(interval) or 0, burst = tonumber(burst), most = tonumber(most) }
end

-- field -> text, of those fields that are there.
local function read_texts(ids)
  local texts, fields = {}, {}
  if redis.call('HLEN', KEYS[1]) <= FEW then
    local all = redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do texts[all[i]] = all[i + 1] end
    return texts, true
  end
  for _, id in ipairs(ids) do
    local name = string.match(id, '^[^\t]*')
    if texts[name] == nil then -- a mark; no field is called so
      texts[name] = true
      fields[#fields + 1], fields[#fields + 2] = 's:' .. name, 'd:' .. name
    end
    if name ~= id then fields[#fields + 1] = 's:' .. id end
  end
  by_portions(#fields, function(from, to)
    for i, text in ipairs(redis.call('HMGET', KEYS[1], unpack(fields, from, to))) do texts[fields[from + i - 1]] = text or nil end
  end)
  return texts, false
end

-- Reads of many limits at once what will be asked for; of the times only those of `with_tats`, the others when they are.
local function prefetch(ids, with_tats)
  with_tats = with_tats or ids
  by_portions(#with_tats, function(from, to)
    for i, tat in ipairs(redis.call('ZMSCORE', KEYS[2], unpack(with_tats, from, to))) do
      local id = with_tats[from + i - 1]
      tats[id] = tats[id] or tonumber(tat or 0) -- one that was changed here is not written yet
    end
  end)
  local texts, are_all = few, true
  if not texts then texts, are_all = read_texts(ids) end
  if are_all then few = texts end
  local plain = {} -- most keys have no spec of their own: that of the name is read once
  for _, id in ipairs(ids) do
    local name = string.match(id, '^[^\t]*')
    if plain[name] == nil then plain[name] = read_spec(texts['s:' .. name], texts['d:' .. name]) end
    local own = name ~= id and texts['s:' .. id]
    if own then specs[id] = read_spec(own) else specs[id] = plain[name] end
  end
end

local function spec_of(id)
  if specs[id] == nil then prefetch({ id }) end
  return specs[id]
end

local function tat_of(id)
  if not tats[id] then tats[id] = tonumber(redis.call('ZSCORE', KEYS[2], id) or 0) end
  return tats[id]
end

local function set_tat(id, tat) tats[id], new_tats[id] = tat, tat end

local function running_of(id)
  local running = runnings[id]
  if not running then
    running = tonumber(redis.call('HGET', KEYS[3], id) or 0)
    runnings[id] = running
  end
  return running
end

local function add_running(id, by)
  runnings[id] = running_of(id) + by
  changes[id] = (changes[id] or 0) + by
end

-- Returns when they let one start, and the places it takes, form feeds between; or false, the limit that does not, and when to look again.
local function judge(limits, since)
  local start, places
  for i = 1, #limits do
    local id = limits[i]
    local spec = spec_of(id)
    if spec then
      local from = now
      if spec.interval > 0 and spec.interval < DENSE then from = math.max(now - CATCH_UP, math.min(now, since)) end
      local earliest = math.max(from, tat_of(id) - (spec.burst - 1) * spec.interval)
      if earliest > now + LOOKAHEAD then return false, id, earliest end
      if not start or earliest > start then start = earliest end
      if spec.most then
        if running_of(id) >= spec.most then return false, id, now + PLACE_LOOK end
        places = places and places .. '\f' .. id or id
      end
    end
  end
  return start or now, places
end

local function charge(limits, start)
  for i = 1, #limits do
    local id = limits[i]
    local spec = spec_of(id)
    if spec then
      if spec.interval > 0 then set_tat(id, math.max(tat_of(id), start) + spec.interval) end
      if spec.most then add_running(id, 1) end
    end
  end
end

-- A start that was kept is used late: where starts are evenly spaced, the next is counted from now.
local function use_late(limits)
  for i = 1, #limits do
    local id = limits[i]
    local spec = spec_of(id)
    if spec and spec.interval > 0 and spec.burst == 1 and tat_of(id) < now + spec.interval then set_tat(id, now + spec.interval) end
  end
end

local function split(text)
  local parts = {}
  for part in string.gmatch(text, '[^\f]+') do parts[#parts + 1] = part end
  return parts
end

local function leave(places)
  for _, id in ipairs(split(places)) do add_running(id, -1) end
end

-- Returns the start that was kept for a message, and its places or false; takes it out.
local function take_kept(message)
  local start = redis.call('ZSCORE', KEYS[4], message)
  if not start then return end
  redis.call('ZREM', KEYS[4], message)
  local places = redis.call('HGET', KEYS[5], message)
  if places then redis.call('HDEL', KEYS[5], message) end
  return tonumber(start), places
end

-- Writes pairs of score and member into a sorted set. `mark`: as ZADD has it, or false.
local function add_pairs(key, mark, values)
  by_portions(#values, function(from, to)
    if mark then redis.call('ZADD', key, mark, unpack(values, from, to)) else redis.call('ZADD', key, unpack(values, from, to)) end
  end)
end

local function write_back()
  local values = {}
  for id, tat in pairs(new_tats) do values[#values + 1], values[#values + 2] = string.format('%.3f', tat), id end
  if #values > 0 then
    add_pairs(KEYS[2], false, values)
    -- A tat that is long over says nothing: as many go as may have come.
    local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - 2 * CATCH_UP), 'LIMIT', 0, #values)
    by_portions(#over, function(from, to) redis.call('ZREM', KEYS[2], unpack(over, from, to)) end)
  end
  for id, by in pairs(changes) do
    if by ~= 0 and redis.call('HINCRBY', KEYS[3], id, by) <= 0 then redis.call('HDEL', KEYS[3], id) end
  end
end
