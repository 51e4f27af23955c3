-- restore-dead.lua: move one dead letter back to the list it was taken from, or discard it.
-- KEYS[1] dead letters  KEYS[2] their index  KEYS[3] the list, when it goes there
-- ARGV[1] id  ARGV[2] the record, newline, list, newline: as the caller read it  ARGV[3] the envelope to push
-- Returns 1, or 0 when it is not there or not as the caller read it.
local letter = redis.call('HGET', KEYS[1], ARGV[1])
if not letter or string.sub(letter, 1, #ARGV[2]) ~= ARGV[2] then return 0 end
redis.call('ZCARD', KEYS[2])
if KEYS[3] then redis.call('LPUSH', KEYS[3], ARGV[3]) end
redis.call('HINCRBY', KEYS[1], '@bytes', -#letter)
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('ZREM', KEYS[2], ARGV[1]) == 1 and redis.call('ZCARD', KEYS[2]) == 0 then redis.call('DEL', KEYS[1]) end
return 1
