#!lua flags=allow-oom
-- batch-confirm.lua: note that the members of a reservation are published.
-- KEYS[1] reservations, hash, as in batch-reserve.lua    ARGV[1] adder  ARGV[2] sequence
-- A task's are kept, because it may run again. An adder that begins with '-' comes once: its are of no use any more.
local adds, adder, name = KEYS[1], ARGV[1], ARGV[1] .. ':' .. ARGV[2]
local reservation = redis.call('HGET', adds, name)
if not reservation then return 0 end
if string.sub(adder, 1, 1) == '-' then return redis.call('HDEL', adds, name, adder) end
if not string.find(reservation, '+', 1, true) then redis.call('HSET', adds, name, reservation .. ' +') end
return 1
