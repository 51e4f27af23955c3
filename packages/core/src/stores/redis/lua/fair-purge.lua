#!lua flags=allow-oom
-- fair-purge.lua: discard what is sorted in a fair queue; what runs still counts.
-- KEYS[1] sorted messages  KEYS[2] keys  KEYS[3] ring  KEYS[4] bell  KEYS[5] what runs: as in fair-reserve.lua
-- Returns how many.
local count, held, states = redis.call('HLEN', KEYS[1]), {}, {}
for _, claim in ipairs(redis.call('HVALS', KEYS[5])) do
  local key = string.sub(claim, string.find(claim, '\n', 1, true) + 1)
  held[key] = (held[key] or 0) + 1
end
redis.call('HLEN', KEYS[2])
redis.call('LLEN', KEYS[3])
for i = 1, 4 do redis.call('UNLINK', KEYS[i]) end
for key, loans in pairs(held) do redis.call('HSET', KEYS[2], key, '0 ' .. string.format('%d', loans) .. ' 0') end
return count
