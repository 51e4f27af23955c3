-- publish.lua: put a batch of messages into their lists, at most once however often it is sent. Not on a full Redis: it refuses.
-- KEYS[1] batches of the publishing connection: epoch, and slot -> number of the last batch that was executed in it
-- KEYS[2..] lists
-- ARGV[1] epoch  ARGV[2] slot  ARGV[3] number of the batch  ARGV[4] how long it is remembered, ms
-- ARGV[5 ..] how many for each list, then the envelopes, list by list
-- Returns 1, or 0 when the epoch is not in force: then nothing was done.
-- Invariant: all of the batch is in its lists and its number in its slot, or neither.
local batches = KEYS[1]
if redis.call('HGET', batches, 'epoch') ~= ARGV[1] then return 0 end
if #KEYS > 2 then -- a key of a wrong type must raise before the first write
  for i = 2, #KEYS do redis.call('LLEN', KEYS[i]) end
end
local from = 4 + #KEYS
for i = 2, #KEYS do
  local left = tonumber(ARGV[3 + i])
  while left > 0 do
    local portion = math.min(left, 1000)
    redis.call('LPUSH', KEYS[i], unpack(ARGV, from, from + portion - 1))
    from, left = from + portion, left - portion
  end
end
redis.call('HSET', batches, ARGV[2], ARGV[3])
redis.call('PEXPIRE', batches, ARGV[4])
return 1
