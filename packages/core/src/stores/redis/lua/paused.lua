-- paused.lua: which queues are paused, and what time it is.
-- KEYS[1] pauses, as pause.lua keeps them
-- Returns the time in ms since 1970, then names and records.
local now = redis.call('TIME')
local answer = redis.call('HGETALL', KEYS[1])
table.insert(answer, 1, string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)))
return answer
