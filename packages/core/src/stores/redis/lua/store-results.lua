-- store-results.lua: store result documents and tell those who wait for them.
-- KEYS results    ARGV for each: seconds to live or 0, document
-- Returns how many were stored. A stored SUCCESS is never overwritten, and nothing is published then.
-- As Celery's SETEX and PUBLISH after a GET (celery/backends/redis.py, _set; base.py, _store_result), for all in one step.
local stored = 0
for i = 1, #KEYS do
  local key, seconds, document = KEYS[i], ARGV[2 * i - 1], ARGV[2 * i]
  local head = redis.pcall('GETRANGE', key, 0, 31)
  if type(head) ~= 'string' or not string.find(head, 'status[^%w]+SUCCESS[^%w]') then
    if seconds == '0' then redis.call('SET', key, document) else redis.call('SETEX', key, seconds, document) end
    redis.pcall('PUBLISH', key, document)
    stored = stored + 1
  end
end
return stored
