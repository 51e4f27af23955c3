-- begin-group.lua: say how many parts a group waits for, and have it looked after.
-- KEYS[1] open groups  KEYS[2] size (.s)  KEYS[3] Lovage's hash of the group
-- ARGV[1] group  ARGV[2] size  ARGV[3] seconds to live or 0  ARGV[4] body or ''  ARGV[5] members or '', a line each
-- The size as Celery writes it (celery/backends/redis.py, set_chord_size).
-- @include register-part
local lives = ARGV[3]
if lives == '0' then
  redis.call('SET', KEYS[2], ARGV[2])
  lives = '604800'
else
  redis.call('SETEX', KEYS[2], lives, ARGV[2])
end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], 'body', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], 'members', ARGV[5]) end
if ARGV[4] .. ARGV[5] ~= '' then
  local now = redis.call('TIME')
  redis.call('EXPIRE', KEYS[3], lives)
  watch_group(KEYS[1], ARGV[1], lives, now[1] * 1000 + math.floor(now[2] / 1000))
end
return 1
