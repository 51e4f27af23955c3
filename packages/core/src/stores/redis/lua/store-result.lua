-- store-result.lua, included by others: a result under its key and on its channel, as Celery's SETEX and PUBLISH. A SUCCESS is never overwritten
-- (celery/backends/redis.py, _set; base.py, _store_result). SET with GET tells in one call what was there, and that is nothing but for a task that runs again.
local function store(key, seconds, document)
  local before
  if seconds == '0' then before = redis.pcall('SET', key, document, 'GET') else before = redis.pcall('SET', key, document, 'EX', seconds, 'GET') end
  if type(before) == 'table' then -- not a text: Celery's SETEX would replace it
    if seconds == '0' then redis.call('SET', key, document) else redis.call('SETEX', key, seconds, document) end
  elseif before and string.find(string.sub(before, 1, 32), 'status[^%w]+SUCCESS[^%w]') then
    redis.call('SET', key, before, 'KEEPTTL')
    return
  end
  redis.pcall('PUBLISH', key, document)
end
