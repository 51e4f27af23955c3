#!lua flags=allow-oom
-- fold.lua: end loans, and put each message at the end of a group, to be published with others as one.
-- KEYS[1] loans of the worker  KEYS[2] groups by when they are due  KEYS[3 ..] for each loan: the group's list, the groups of its queue
-- ARGV, for each loan: loan, group, due in ms if it is the first
-- Returns for each how many its group then holds, or 0 when the loan was not there: then nothing was done for it.
-- Invariant: a message is on loan or in a group; while a group holds one, it is among those that are due some day and among its queue's.
redis.call('HLEN', KEYS[1]) -- what can raise is done before the first write
redis.call('ZCARD', KEYS[2])
for i = 3, #KEYS, 2 do
  redis.call('LLEN', KEYS[i])
  redis.call('HLEN', KEYS[i + 1])
end
local counts = {}
for i = 1, (#KEYS - 2) / 2 do
  local list, queue = KEYS[2 * i + 1], KEYS[2 * i + 2]
  local loan, group, due = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local envelope = redis.call('HGET', KEYS[1], loan)
  counts[i] = 0
  if envelope then
    redis.call('ZADD', KEYS[2], 'NX', due, group)
    counts[i] = redis.call('RPUSH', list, envelope)
    redis.call('HSET', queue, '=' .. group, 1)
    redis.call('HINCRBY', queue, '@', 1)
    redis.call('HDEL', KEYS[1], loan)
  end
end
return counts
