#!lua flags=allow-oom
-- renew.lua: prolong a worker's lease, tell a loss until it was heard of, and look whether there is anything to sweep.
-- KEYS[1] leases  KEYS[2] mark "swept"  KEYS[3] graves  KEYS[4] kombu's unacked_index
-- ARGV[1] worker  ARGV[2] ms  ARGV[3] '1' when the caller renewed it before  ARGV[4] the last mark that the caller has heard of, '' for none
-- ARGV[5] a mark for the case that the lease is simply not there  ARGV[6] how long a mark stays, ms
-- Returns the mark of a loss that the caller has not heard of, or ''; seconds and microseconds of Redis; 1 when there are graves, or 0;
-- the time of kombu's oldest loan, '' for none; then workers whose lease ran out, and when.
-- Invariant: a mark is news until its name comes back from the worker, however many answers are lost. Then it stays as '=' and its name, so that
-- attach.lua does not tell of the same loss again.
local worker, heard = ARGV[1], ARGV[4]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local had = redis.call('ZSCORE', KEYS[1], worker)
local oldest = redis.pcall('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local graves = redis.call('EXISTS', KEYS[3])
local mark = redis.call('GET', KEYS[2]) or ''
redis.call('ZREM', KEYS[1], '') -- before Redis 7 a script that has written is not stopped by a full memory
if string.sub(mark, 1, 1) == '=' then
  mark = ''
elseif mark ~= '' and mark == heard then
  redis.call('SET', KEYS[2], '=' .. mark, 'KEEPTTL')
  mark = ''
end
if mark == '' and not had and ARGV[3] == '1' then
  mark = ARGV[5]
  redis.call('SET', KEYS[2], mark, 'PX', ARGV[6])
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now_ms + tonumber(ARGV[2])), worker)
local answer = { mark, now[1], now[2], graves, not oldest.err and oldest[2] or '' }
for _, each in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms), 'WITHSCORES', 'LIMIT', 0, 16)) do
  answer[#answer + 1] = each
end
return answer
