#!lua flags=allow-oom
-- unpark.lua: return parked messages of one queue to the front of its lists, the earliest due to be taken first.
-- KEYS[1] parked messages of the queue  KEYS[2] queues with parked messages  KEYS[3..] the queue's lists
-- ARGV[1] queue  ARGV[2] at most so many  ARGV[3] '1' whatever their time, else those that are due
-- Returns how many were moved, 1 when more could be, and when the next is due ('' for none).
-- The latest due go first, so that after as many calls as it takes the earliest is in front.
local parked, due, queue = KEYS[1], KEYS[2], ARGV[1]
local now = redis.call('TIME')
local until_ms = ARGV[3] == '1' and '+inf' or string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local known = {}
for i = 3, #KEYS do
  redis.call('LLEN', KEYS[i])
  known[KEYS[i]] = true
end
redis.call('ZCARD', due)
local members = redis.call('ZREVRANGEBYSCORE', parked, until_ms, '-inf', 'LIMIT', 0, tonumber(ARGV[2]))
for _, member in ipairs(members) do
  local loan_ends = string.find(member, '\n', 1, true)
  local list_ends = string.find(member, '\n', loan_ends + 1, true)
  local list = string.sub(member, loan_ends + 1, list_ends - 1)
  redis.call('ZREM', parked, member)
  redis.call('RPUSH', known[list] and list or KEYS[3], string.sub(member, list_ends + 1))
end
local first = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')
if first[2] then redis.call('ZADD', due, first[2], queue) else redis.call('ZREM', due, queue) end
local more = first[2] and (until_ms == '+inf' or tonumber(first[2]) <= tonumber(until_ms))
return { #members, more and 1 or 0, first[2] or '' }
