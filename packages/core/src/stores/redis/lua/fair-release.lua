#!lua flags=allow-oom
-- fair-release.lua: put sorted messages of a fair queue back into its lists, behind what is there: of the keys in the ring, by turns, or of some keys.
-- KEYS[1] sorted messages  KEYS[2] keys  KEYS[3] ring  KEYS[4] bell  KEYS[5] settings: as in fair-reserve.lua
-- KEYS[6 ..] the queue's lists, by priority step
-- ARGV[1] at most so many  ARGV[2] '1': of paused keys too  ARGV[3..] keys, which are out of the ring; none: those in the ring
-- Returns how many.
-- Invariant: an envelope is in its list or sorted, never in neither.
local sorted, keys, ring, bell, left = KEYS[1], KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[1])
for i = 6, #KEYS do redis.call('LLEN', KEYS[i]) end
redis.call('HLEN', sorted)
redis.call('HLEN', keys)
redis.call('LLEN', bell)
redis.call('HLEN', KEYS[5])
redis.call('HDEL', keys, '\n') -- before Redis 7 a script that has written is not stopped by a full memory

-- The next message of a key goes back. False when there is none.
local function release(key, state)
  for at = 4, math.min(#state, 2 * #KEYS - 8), 2 do -- a step for each list
    while state[at] < state[at + 1] do
      local field = (at + 6) .. '.' .. string.format('%d', state[at]) .. '.' .. key
      local envelope = redis.call('HGET', sorted, field)
      state[at] = state[at] + 1
      if envelope then
        redis.call('LPUSH', KEYS[6 + (at - 4) / 2], envelope)
        redis.call('HDEL', sorted, field)
        return true
      end
    end
  end
  return false
end

local function read(key)
  local state = {}
  for figure in string.gmatch(redis.call('HGET', keys, key) or '0 0 0', '%-?%d+') do state[#state + 1] = tonumber(figure) end
  return state
end

local function write(key, state)
  if state[1] == 0 and state[2] == 0 then redis.call('HDEL', keys, key) else redis.call('HSET', keys, key, table.concat(state, ' ')) end
end

local function waits(state)
  for at = 4, #state - 1, 2 do
    if state[at] < state[at + 1] then return true end
  end
  return false
end

local function is_kept(key)
  local own = ARGV[2] ~= '1' and redis.call('HGET', KEYS[5], '=' .. key)
  return own and string.match(own, '^%d+ %d+ (%d)') == '1'
end

local moved, named = 0, #ARGV > 2
local turn = 3
while moved < left do
  local key
  if named then key = ARGV[turn] else key = redis.call('LPOP', ring) end
  if not key then break end
  local state = read(key)
  if named and state[1] == 1 then
    turn = turn + 1 -- it came back into the ring meanwhile
  elseif is_kept(key) then
    state[1], state[3], turn = waits(state) and 2 or 0, 0, turn + 1
    write(key, state)
  elseif release(key, state) then
    moved = moved + 1
    if not named then redis.call('RPUSH', ring, key) end
    write(key, state)
  else
    state[1], state[3], turn = 0, 0, turn + 1
    write(key, state)
  end
end
if redis.call('LLEN', ring) == 0 then redis.call('DEL', bell) end
return moved
