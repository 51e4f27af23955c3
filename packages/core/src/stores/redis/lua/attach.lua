#!lua flags=allow-oom
-- attach.lua: make a connection the one through which a worker reserves; older connections of it can lend nothing any more.
-- KEYS[1] loans of the worker     KEYS[2] leases      KEYS[3] mark "swept"    KEYS[4] graves    KEYS[5] lists with an inbox
-- ARGV[1] worker  ARGV[2] what all epochs of the caller begin with  ARGV[3] number of the new one  ARGV[4] where the caller's last began, '' for none
-- ARGV[5] first lease, ms  ARGV[6] how long the mark stays, ms  ARGV[7] the mark that was there when the caller last attached, '' for none
-- ARGV[8..] lists that will have an inbox
-- Returns the epoch, `prefix number | prefix number`: the first names the attachment since which nobody has taken the caller's loans away,
-- the second this one; the mark that is there, '' for none; then the fields of its loans.
-- Invariant: whoever has loans has a lease, so that a sweep finds them. Sent again after a lost answer it tells the same.
local loans, worker, prefix, last = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('SCARD', KEYS[5])
redis.call('ZCARD', KEYS[4])
redis.call('ZSCORE', KEYS[2], worker)
local current, began = redis.call('HGET', loans, '@epoch'), prefix .. ARGV[3]
if current and string.sub(current, 1, #prefix) == prefix then began = string.match(current, '^[^|]*') end
local epoch = began .. '|' .. prefix .. ARGV[3]
redis.call('HDEL', loans, '@epoch') -- before Redis 7 a script that has written is not stopped by a full memory
redis.call('HSET', loans, '@epoch', epoch)
redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now_ms + tonumber(ARGV[5])), worker)
redis.call('ZREM', KEYS[4], worker)
redis.call('PERSIST', KEYS[5])
for i = 8, #ARGV do redis.call('SADD', KEYS[5], ARGV[i]) end
local mark = string.gsub(redis.call('GET', KEYS[3]) or '', '^=', '')
if last == '' then
  redis.call('DEL', KEYS[3])
  mark = ''
elseif last ~= began and mark == ARGV[7] then -- the loans are gone and nobody has said so: a server that forgot them
  mark = last
  redis.call('SET', KEYS[3], mark, 'PX', ARGV[6])
end
local answer = redis.call('HKEYS', loans)
table.insert(answer, 1, mark)
table.insert(answer, 1, epoch)
return answer
