#!lua flags=allow-oom
-- fair-reserve.lua: sort the messages of a fair queue by their keys, and lend up to `want` of them to one worker, by turns among the keys.
-- KEYS[1] loans of the worker  KEYS[2] sorted messages, hash: step.number.key -> envelope; steps are 10, 12, ...  KEYS[3] keys, hash: key -> state (below)
-- KEYS[4] ring, list: keys whose turn comes  KEYS[5] settings, hash: =key or * -> weight, limit, paused (fair-set.lua)
-- KEYS[6] what runs, hash: loan -> worker, newline, key  KEYS[7] bell, list  KEYS[8] the worker's inbox of the bell
-- KEYS[9] fair queues, sorted set: queue -> when one of its workers looked, ms  KEYS[10 ..] inbox and list for each priority step
-- ARGV[1] epoch  ARGV[2] what loans begin with  ARGV[3] first loan number  ARGV[4] want, at most 512  ARGV[5] bytes lent at most; one always fits
-- ARGV[6] sort at most so many  ARGV[7] and about so many bytes  ARGV[8] '1': lend even if some are not sorted yet  ARGV[9] worker
-- ARGV[10] queue, when its look is to be noted, else ''
-- Returns -1 when the epoch is not in force. Else 1 when the bytes ran out, or 0; how many are not sorted yet; the KEYS index of the list of each
-- that it lent; then their envelopes. Until all is sorted it lends nothing, unless told to: what is last in the list may be the first of its key.
-- State: whether it is in the ring (1), or out of it with messages that wait (2); loans; what is left of its turn; then for each step the
-- number of its first message and the number after its last. A key with neither messages nor loans has none.
-- A loan's envelope, unless it is none, begins with a space, which JSON ignores: wherever it returns to, it is then sorted to the front of its key, and not to the back.
-- A token in the bell wakes one worker: it is there while keys are in the ring.
-- Invariant: an envelope is in its list, in an inbox, sorted, or in exactly one worker's loans, whoever crashes; loans of this queue are in KEYS[6].
local loans, sorted, keys, ring, settings, running, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local prefix, number, want, room = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local sort_most, sort_room, worker = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[9]
local MARK, BEFORE = '_key"', '"fair' -- protocol/fair-key.ts; looked for by its rarest character, which Base64 does not have
local KEY_MAX, SPACE, QUOTE, BACKSLASH, BRACE = 200, 32, 34, 92, 123
if redis.call('HGET', loans, '@epoch') ~= ARGV[1] then return -1 end

-- A key of a wrong type must raise before anything was taken from the others.
local length, unsorted = {}, 0
for i = 10, #KEYS do
  length[i] = redis.call('LLEN', KEYS[i])
  unsorted = unsorted + length[i]
end
redis.call('HLEN', sorted)
redis.call('HLEN', keys)
redis.call('HLEN', running)
redis.call('HLEN', settings)
redis.call('LLEN', bell)
local in_ring = redis.call('LLEN', ring)
if ARGV[10] ~= '' then redis.call('ZCARD', KEYS[9]) end
redis.call('HDEL', loans, '') -- before Redis 7 a script that has written is not stopped by a full memory

local function each_portion(list, act)
  for from = 1, #list, 1000 do act(unpack(list, from, math.min(from + 999, #list))) end
end

-- The same in protocol/fair-key.ts.
local function key_of(envelope)
  local from = 1
  while true do
    local first, last = string.find(envelope, MARK, from, true)
    if not first then return '' end
    local value = string.sub(envelope, first - 5, first - 1) == BEFORE and string.match(envelope, '^%s*:%s*()', last + 1)
    if value then
      if string.byte(envelope, value) ~= QUOTE then
        local digits = string.match(string.sub(envelope, value, value + 39), '^(%-?%d+)%s*[,}]')
        return digits and #digits <= 31 and digits or ''
      end
      local text = string.sub(envelope, value + 1, value + KEY_MAX + 1)
      local at = 1
      while true do
        local stop = string.find(text, '[%c"\\]', at)
        local byte = stop and string.byte(text, stop)
        if byte == QUOTE then return string.sub(text, 1, stop - 1) end
        if byte ~= BACKSLASH then return '' end
        at = stop + 2
      end
    end
    from = last + 1
  end
end

local states, changed = {}, {}
local function load(names)
  local unknown = {}
  for _, key in ipairs(names) do
    if not states[key] then unknown[#unknown + 1] = key end
  end
  for from = 1, #unknown, 1000 do
    local last = math.min(from + 999, #unknown)
    local texts = redis.call('HMGET', keys, unpack(unknown, from, last))
    for i = from, last do
      local state = {}
      for figure in string.gmatch(texts[i - from + 1] or '0 0 0', '%-?%d+') do state[#state + 1] = tonumber(figure) end
      for j = #state + 1, #KEYS - 10 + 4 do state[j] = 0 end -- two keys and two numbers a step
      states[unknown[i]] = state
      changed[#changed + 1] = unknown[i]
    end
  end
end

-- Sorting: inboxes first, they were filled from the front of their lists.
local order, lots, done = {}, {}, 0
local function sort_out(source, step, most)
  while most > 0 and done < sort_most and sort_room > 0 do
    local portion = math.min(most, sort_most - done, 32)
    local envelopes = redis.call('RPOP', source, portion)
    if not envelopes then return end
    for _, envelope in ipairs(envelopes) do
      local key = key_of(envelope)
      local lot = lots[key]
      if not lot then
        lot = {}
        lots[key], order[#order + 1] = lot, key
      end
      lot[#lot + 1], lot[#lot + 2] = step, envelope
      sort_room = sort_room - #envelope
    end
    done, most = done + #envelopes, most - #envelopes
  end
end
for i = 10, #KEYS, 2 do
  if length[i] > 0 then sort_out(KEYS[i], i, length[i]) end
  if length[i + 1] > 0 then sort_out(KEYS[i + 1], i, length[i + 1]) end
end
unsorted = unsorted - done

local joining = {}
if done > 0 then
  load(order)
  local fields = {}
  for _, key in ipairs(order) do
    local state, lot, front = states[key], lots[key], {}
    for i = 1, #lot, 2 do
      if string.byte(lot[i + 1]) == SPACE then front[lot[i]] = (front[lot[i]] or 0) + 1 end
    end
    for step, count in pairs(front) do
      state[step - 6] = state[step - 6] - count
      front[step] = state[step - 6]
    end
    for i = 1, #lot, 2 do
      local step, place = lot[i], nil
      if string.byte(lot[i + 1]) == SPACE then
        place = front[step]
        front[step] = place + 1
      else
        place = state[step - 5]
        state[step - 5] = place + 1
      end
      fields[#fields + 1], fields[#fields + 2] = step .. '.' .. string.format('%d', place) .. '.' .. key, lot[i + 1]
    end
    if state[1] ~= 1 then
      state[1] = 1
      joining[#joining + 1] = key
    end
  end
  each_portion(fields, function(...) redis.call('HSET', sorted, ...) end)
  each_portion(joining, function(...) redis.call('RPUSH', ring, ...) end)
  in_ring = in_ring + #joining
end

-- Lending.
local answer, indexes, entries, claims, taken, full = { 0, unsorted }, {}, {}, {}, {}, false
answer[3] = indexes

local function first_of(state)
  for i = 4, #KEYS - 7, 2 do
    if state[i] < state[i + 1] then return i end
  end
end

-- False when there is no room for it. A message that somebody removed by hand is passed over.
local function lend(key, state, at)
  while at do
    local step = at + 6
    local field = step .. '.' .. string.format('%d', state[at]) .. '.' .. key
    local envelope = redis.call('HGET', sorted, field)
    if envelope then
      if #indexes > 0 and #envelope > room then return false end
      room = room - #envelope
      if string.byte(envelope) == BRACE then envelope = ' ' .. envelope end
      local loan = prefix .. string.format('%d', number) .. '\n' .. KEYS[step + 1]
      number = number + 1
      taken[#taken + 1] = field
      indexes[#indexes + 1] = step + 1
      answer[#answer + 1] = envelope
      entries[#entries + 1], entries[#entries + 2] = loan, envelope
      claims[#claims + 1], claims[#claims + 2] = loan, worker .. '\n' .. key
      state[at], state[2] = state[at] + 1, state[2] + 1
      want = want - 1
      return true
    end
    state[at] = state[at] + 1
    at = first_of(state)
  end
  return true
end

-- Weight, limit and pause of each key; what it does not say, the default says.
local function rights_of(line)
  local fields = { '*' }
  for i, key in ipairs(line) do fields[i + 1] = '=' .. key end
  local texts = {}
  for from = 1, #fields, 1000 do
    local last = math.min(from + 999, #fields)
    local portion = redis.call('HMGET', settings, unpack(fields, from, last))
    for i = from, last do texts[i] = portion[i - from + 1] end
  end
  local weight, limit = string.match(texts[1] or '0 0', '^(%d+) (%d+)')
  weight, limit = math.max(1, tonumber(weight)), tonumber(limit)
  return function(i)
    local text = texts[i + 1]
    if not text then return weight, limit, false end
    local own_weight, own_limit, paused = string.match(text, '^(%d+) (%d+) (%d)')
    own_weight, own_limit = tonumber(own_weight), tonumber(own_limit)
    return own_weight > 0 and own_weight or weight, own_limit > 0 and own_limit or limit, paused == '1'
  end
end

local lends = unsorted <= 0 or ARGV[8] == '1'
while lends and want > 0 and in_ring > 0 and not full do
  local line = redis.call('LPOP', ring, math.min(want, 512))
  if not line then break end
  in_ring = in_ring - #line
  load(line)
  local rights, seats = rights_of(line), {}
  for i, key in ipairs(line) do
    local weight, limit, paused = rights(i)
    seats[i] = { key, weight, limit, paused }
  end
  local at, last, is_all, back = 1, #seats, in_ring == 0, {}
  while at <= last and want > 0 and not full do
    local seat = seats[at]
    local key, weight, limit = seat[1], seat[2], seat[3]
    local state = states[key]
    local from = first_of(state)
    local is_open = from and not seat[4] and (limit == 0 or state[2] < limit)
    local stays = false
    if is_open then
      if not lend(key, state, from) then
        full = true
        break
      end
      state[3] = (state[3] > 0 and math.min(state[3], weight) or weight) - 1
      from = first_of(state)
      is_open = from and (limit == 0 or state[2] < limit)
      stays = is_open and state[3] > 0
    end
    if not stays then
      at = at + 1
      if not is_open then
        state[1], state[3] = from and 2 or 0, 0
      elseif is_all then
        last = last + 1
        seats[last] = seat
      else
        back[#back + 1] = key
      end
    end
  end
  local front = {}
  for i = last, at, -1 do front[#front + 1] = seats[i][1] end
  each_portion(front, function(...) redis.call('LPUSH', ring, ...) end)
  each_portion(back, function(...) redis.call('RPUSH', ring, ...) end)
  in_ring = in_ring + #front + #back
end
if full then answer[1] = 1 end

each_portion(entries, function(...) redis.call('HSET', loans, ...) end)
each_portion(claims, function(...) redis.call('HSET', running, ...) end)
each_portion(taken, function(...) redis.call('HDEL', sorted, ...) end)

local kept, gone = {}, {}
for _, key in ipairs(changed) do
  local state = states[key]
  if state[1] == 0 and state[2] == 0 then
    gone[#gone + 1] = key
  else
    kept[#kept + 1], kept[#kept + 2] = key, table.concat(state, ' ')
  end
end
each_portion(kept, function(...) redis.call('HSET', keys, ...) end)
each_portion(gone, function(...) redis.call('HDEL', keys, ...) end)

redis.call('DEL', KEYS[8])
if in_ring == 0 then
  redis.call('DEL', bell)
elseif redis.call('LLEN', bell) == 0 then
  redis.call('LPUSH', bell, '')
end
if ARGV[10] ~= '' then
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[9], string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)), ARGV[10])
end
return answer
