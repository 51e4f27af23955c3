#!lua flags=allow-oom
-- attach.lua: make a connection the one through which a worker reserves; older connections of it can lend nothing any more.
-- KEYS[1] loans of the worker     KEYS[2] leases      KEYS[3] mark "swept"    KEYS[4] graves    KEYS[5] lists with an inbox
-- ARGV[1] worker  ARGV[2] new epoch  ARGV[3] the caller's last epoch, '' for none  ARGV[4] first lease, ms  ARGV[5] how long the mark stays, ms
-- ARGV[6..] lists that will have an inbox
-- Returns 1 when the caller's last epoch was still in force (nobody took its loans), else 0; then the fields of its loans.
-- Invariant: whoever has loans has a lease, so that a sweep finds them.
local loans, worker, last = KEYS[1], ARGV[1], ARGV[3]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('SCARD', KEYS[5])
redis.call('ZCARD', KEYS[4])
redis.call('ZSCORE', KEYS[2], worker)
local unbroken = last ~= '' and redis.call('HGET', loans, '@epoch') == last
redis.call('HDEL', loans, '@epoch') -- before Redis 7 a script that has written is not stopped by a full memory
redis.call('HSET', loans, '@epoch', ARGV[2])
redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now_ms + tonumber(ARGV[4])), worker)
redis.call('ZREM', KEYS[4], worker)
for i = 6, #ARGV do redis.call('SADD', KEYS[5], ARGV[i]) end
if last == '' then redis.call('DEL', KEYS[3]) elseif not unbroken then redis.call('SET', KEYS[3], '1', 'PX', ARGV[5]) end
local fields = redis.call('HKEYS', loans)
table.insert(fields, 1, unbroken and 1 or 0)
return fields
