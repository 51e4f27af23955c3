-- bury-letter.lua, included by others: puts a letter among the dead letters of a queue, of which the oldest make room. `caps`: how many, bytes, age in ms.
-- Field @bytes of the hash is the sum of all letters' lengths; the newest letter always stays.
local function bury_letter(hash, index, id, letter, caps)
  while id == '@bytes' or redis.call('HEXISTS', hash, id) == 1 do id = id .. '~' end
  local newest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  local now = redis.call('TIME')
  local score = math.max(now[1] * 1000 + math.floor(now[2] / 1000), (tonumber(newest[2]) or 0) + 1 / 1024) -- arrival, never twice the same
  redis.call('HSET', hash, id, letter)
  redis.call('ZADD', index, string.format('%.17g', score), id)
  local bytes, count = redis.call('HINCRBY', hash, '@bytes', #letter), redis.call('ZCARD', index)
  local most, most_bytes, most_age = string.match(caps, '(%d+) (%d+) (%d+)')
  while count > 1 do
    local oldest = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
    if count <= tonumber(most) and bytes <= tonumber(most_bytes) and tonumber(oldest[2]) >= score - tonumber(most_age) then break end
    bytes, count = redis.call('HINCRBY', hash, '@bytes', -redis.call('HSTRLEN', hash, oldest[1])), count - 1
    redis.call('HDEL', hash, oldest[1])
    redis.call('ZREM', index, oldest[1])
  end
end
