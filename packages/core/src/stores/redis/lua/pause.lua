#!lua flags=allow-oom
-- pause.lua: remember queues that workers are to leave alone, and tell the workers that there is something to read.
-- KEYS[1] pauses, hash: queue -> until when (ms since 1970, '' for no end), newline, the rest as JSON
-- ARGV[1] channel  ARGV[2] most  ARGV[3..] for each queue its name, until when, JSON
-- Returns 1, or 0 when there is no room for all of them; then nothing was done. Those whose time is over make room.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local kept = redis.call('HGETALL', KEYS[1])
local count, is_kept = 0, {}
for i = 1, #kept, 2 do
  local ends = tonumber(string.match(kept[i + 1], '^%d+'))
  if ends and ends <= now_ms then
    redis.call('HDEL', KEYS[1], kept[i])
  else
    count, is_kept[kept[i]] = count + 1, true
  end
end
for i = 3, #ARGV, 3 do
  if not is_kept[ARGV[i]] then count, is_kept[ARGV[i]] = count + 1, true end
end
if count > tonumber(ARGV[2]) then return 0 end
for i = 3, #ARGV, 3 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. '\n' .. ARGV[i + 2]) end
redis.call('PUBLISH', ARGV[1], '')
return 1
