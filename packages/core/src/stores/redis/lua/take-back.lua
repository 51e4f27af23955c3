#!lua flags=allow-oom
-- take-back.lua: return loans of a worker to the front of their lists, or to the dead letters: of one whose lease ran out, or by hand.
-- KEYS[1] loans of the worker  KEYS[2] leases  KEYS[3] mark "swept"  KEYS[4 ..] lists, then pairs of dead letters and their index
-- ARGV[1] worker  ARGV[2] why: expired | released | own  ARGV[3] for `own` the epoch, else the name of the mark: one for each time that loans are
-- taken away, the same for all its calls  ARGV[4] how long the mark stays, ms
-- ARGV[5] caps of dead letters: how many, bytes, age in ms  ARGV[6] lists  ARGV[7..] for each loan: loan, list envelope '', or dead id record; in the order in which they are pushed.
-- For a dead letter the record is not empty; what is kept is the envelope as it was.
-- Returns -1 when the lease is in force (or the epoch is not), else how many went back and how many were dead-lettered.
-- Invariant: @epoch goes before the first loan does, so that the worker and its scripts know (settle.lua). A loan that is gone is skipped:
-- a loan's entry never changes, so what the caller read is what is there.
local loans, worker, why, has_begun = KEYS[1], ARGV[1], ARGV[2], false
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if why == 'own' then
  if redis.call('HGET', loans, '@epoch') ~= ARGV[3] then return -1 end
else
  has_begun = string.gsub(redis.call('GET', KEYS[3]) or '', '^=', '') == ARGV[3] -- heard of or not
  local ends = redis.call('ZSCORE', KEYS[2], worker)
  if why == 'expired' and ends and tonumber(ends) > now_ms and not has_begun then return -1 end
end
local lists = tonumber(ARGV[6])
for i = 4, 3 + lists do redis.call('LLEN', KEYS[i]) end
for i = 4 + lists, #KEYS, 2 do
  redis.call('HLEN', KEYS[i])
  redis.call('ZCARD', KEYS[i + 1])
end
redis.call('HDEL', loans, '') -- before Redis 7 a script that has written is not stopped by a full memory
if why ~= 'own' and not has_begun then
  redis.call('HDEL', loans, '@epoch')
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
end

-- @include bury-letter

local returned, buried = 0, 0
for i = 7, #ARGV, 4 do
  local loan, target, text, record = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local envelope = redis.call('HGET', loans, loan)
  if envelope then
    if record == '' then
      redis.call('RPUSH', KEYS[target], text)
      returned = returned + 1
    else
      bury_letter(KEYS[target], KEYS[target + 1], text, record .. string.sub(loan, string.find(loan, '\n', 1, true) or 1) .. '\n' .. envelope, ARGV[5])
      buried = buried + 1
    end
    redis.call('HDEL', loans, loan)
  end
end
return { returned, buried }
