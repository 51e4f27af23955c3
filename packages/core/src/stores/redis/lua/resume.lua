#!lua flags=allow-oom
-- resume.lua: forget that queues are paused, and tell the workers that there is something to read.
-- KEYS[1] pauses, as pause.lua keeps them    ARGV[1] channel  ARGV[2..] queues
-- Returns 1 or 0 for each: whether it was paused.
local answer = {}
for i = 2, #ARGV do answer[#answer + 1] = redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PUBLISH', ARGV[1], '')
return answer
