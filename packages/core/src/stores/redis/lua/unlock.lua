-- unlock.lua: give a lock back if it is still ours.    KEYS[1] lock  ARGV[1] token    Returns 1, or 0 when it is another's by now.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
