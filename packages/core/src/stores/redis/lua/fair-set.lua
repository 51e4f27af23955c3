-- fair-set.lua: change the settings of one key of a fair queue, or its defaults, and let keys that waited for that have their turn.
-- KEYS[1] settings, hash: =key or * -> weight, limit, paused (1 or 0); a space and who paused it as JSON. 0: the default  KEYS[2] keys, hash
-- KEYS[3] ring  KEYS[4] bell: as in fair-reserve.lua
-- ARGV[1] field, '' for none  ARGV[2] weight, ARGV[3] limit: '' as they are  ARGV[4] '' as it is, '0' resumed, else who paused it, as JSON
-- ARGV[5] keys that may have settings  ARGV[6..] keys that may have waited
-- Returns 1, or 0 when too many keys have settings.
local settings, keys, ring, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
redis.call('HLEN', keys)
redis.call('LLEN', ring)
redis.call('LLEN', bell)
local field = ARGV[1]
if field ~= '' then
  local before = redis.call('HGET', settings, field)
  local weight, limit, paused = string.match(before or '0 0 0', '^(%d+) (%d+) (.*)$')
  if ARGV[2] ~= '' then weight = ARGV[2] end
  if ARGV[3] ~= '' then limit = ARGV[3] end
  if ARGV[4] == '0' then paused = '0' elseif ARGV[4] ~= '' then paused = '1 ' .. ARGV[4] end
  local text = weight .. ' ' .. limit .. ' ' .. paused
  if text == '0 0 0' then
    redis.call('HDEL', settings, field)
  else
    if not before and redis.call('HLEN', settings) >= tonumber(ARGV[5]) then return 0 end
    redis.call('HSET', settings, field, text)
  end
end
local joined = 0
for i = 6, #ARGV do
  local state = redis.call('HGET', keys, ARGV[i])
  if state and string.sub(state, 1, 1) == '2' then -- reserving puts it out again if it still must wait
    redis.call('HSET', keys, ARGV[i], '1' .. string.sub(state, 2))
    redis.call('RPUSH', ring, ARGV[i])
    joined = joined + 1
  end
end
if joined > 0 and redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, '') end
return 1
