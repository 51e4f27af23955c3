-- revoked.lua: read marks in the order they were added, or tell which of some are kept.
-- KEYS[1] marks, as revoke.lua keeps them
-- ARGV[1] ttl, ms  ARGV[2] 'page'  ARGV[3] limit  ARGV[4] the score to go on from, '' for the newest  ARGV[5] how many of the newest, '' for all
-- ARGV[1] ttl, ms  ARGV[2] 'among'  ARGV[3..] marks
-- Returns for a page the time and then marks and scores; else 1 or 0 for each mark.
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local dead = at - ARGV[1] * 1000
if ARGV[2] == 'among' then
  local answer = {}
  for i = 3, #ARGV do
    local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
    answer[#answer + 1] = score and tonumber(score) > dead and 1 or 0
  end
  return answer
end
local after = tonumber(ARGV[4])
if not after and ARGV[5] ~= '' then after = tonumber(redis.call('ZREVRANGE', KEYS[1], ARGV[5], ARGV[5], 'WITHSCORES')[2]) end
local from = '(' .. string.format('%.0f', math.max(after or 0, dead))
local page = redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
table.insert(page, 1, string.format('%.0f', at))
return page
