#!lua flags=allow-oom
-- renew.lua: prolong a worker's lease, and look whether there is anything to sweep.
-- KEYS[1] leases  KEYS[2] mark "swept"  KEYS[3] graves  KEYS[4] kombu's unacked_index
-- ARGV[1] worker  ARGV[2] ms  ARGV[3] '1' when the caller renewed it before
-- Returns 1 or 0: whether the loans are still the worker's; seconds and microseconds of Redis; 1 when there are graves, or 0; the time of kombu's oldest loan, '' for none; then workers whose lease ran out, and when.
local worker = ARGV[1]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local had = redis.call('ZSCORE', KEYS[1], worker)
local oldest = redis.pcall('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local graves = redis.call('EXISTS', KEYS[3])
local swept = redis.call('DEL', KEYS[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', now_ms + tonumber(ARGV[2])), worker)
local held = swept == 0 and (had or ARGV[3] ~= '1')
local answer = { held and 1 or 0, now[1], now[2], graves, not oldest.err and oldest[2] or '' }
for _, each in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms), 'WITHSCORES', 'LIMIT', 0, 16)) do
  answer[#answer + 1] = each
end
return answer
