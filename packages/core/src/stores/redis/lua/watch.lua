-- watch.lua: read the lengths of lists, so that a tracking client is told when any changes.    KEYS lists    Returns their sum.
local sum = 0
for i = 1, #KEYS do sum = sum + redis.call('LLEN', KEYS[i]) end
return sum
