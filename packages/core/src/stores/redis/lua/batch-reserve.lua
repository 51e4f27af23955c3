-- batch-reserve.lua: give new members of a batch their places. Not on a full Redis: it refuses.
-- KEYS[1] batch, hash  KEYS[2] reservations, hash: adder:sequence -> first, count, and ' +' when confirmed; adder -> how many it made  KEYS[3] children, hash
-- ARGV[1] adder  ARGV[2] sequence  ARGV[3] how many  ARGV[4] id of the child batch that takes the place, or ''
-- Returns the first place and whether its members are published already, or nil when there is no such batch, or it is complete or cancelled.
-- Invariant: a place is given out once; who asks again, because it was interrupted, gets the same ones.
local batch, adds, children = KEYS[1], KEYS[2], KEYS[3]
local adder, sequence, count, child = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local facts = redis.call('HMGET', batch, 'expires', 'completed', 'cancelled')
if not facts[1] then return false end
local name = adder .. ':' .. sequence
local first, size, confirmed = string.match(redis.call('HGET', adds, name) or '', '^(%d+) (%d+)(.*)$')
if first and tonumber(size) == count then return { tonumber(first), confirmed == '' and 0 or 1 } end
if facts[2] or facts[3] then return false end
redis.call('HLEN', children)
local total = redis.call('HINCRBY', batch, 'total', count)
redis.call('HSET', adds, name, (total - count) .. ' ' .. count)
if tonumber(redis.call('HGET', adds, adder) or 0) <= sequence then redis.call('HSET', adds, adder, sequence + 1) end
if child ~= '' then
  redis.call('HSET', children, total - count, child)
  redis.call('PEXPIRE', children, facts[1])
end
redis.call('PEXPIRE', batch, facts[1])
redis.call('PEXPIRE', adds, facts[1])
return { total - count, 0 }
