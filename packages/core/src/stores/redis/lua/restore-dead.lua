-- restore-dead.lua: move one dead letter back to the list it was taken from.
-- KEYS[1] dead letters  KEYS[2] their index  KEYS[3] the list    ARGV[1] id  ARGV[2] what follows the record: list, newline  ARGV[3] the record
-- Returns 1, or 0 when it is not there or not as the caller read it.
-- The envelope is moved as it was, but for our own count of losses: with it, it would be dead-lettered again at once.
local letter = redis.call('HGET', KEYS[1], ARGV[1])
local head = ARGV[3] .. '\n' .. ARGV[2]
if not letter or string.sub(letter, 1, #head) ~= head then return 0 end
redis.call('ZCARD', KEYS[2])
redis.call('LPUSH', KEYS[3], (string.gsub(string.sub(letter, #head + 1), ', "lovage_losses": %d+}$', '}')))
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
