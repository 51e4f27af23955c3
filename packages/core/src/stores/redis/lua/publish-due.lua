#!lua flags=allow-oom
-- publish-due.lua: publish the callback of a batch in the step that removes the record that it is due: once, whoever tries and however often.
-- KEYS[1] due callbacks, sorted set  KEYS[2 ..] lists    ARGV[1] member of the set  ARGV[2] database of the lists  ARGV[3] of the set, '' when the same
-- ARGV[4] messages, for each: list as its index in KEYS, envelope, or 0, channel, envelope
-- Returns 1, or 0 when it was not due: then nothing was done.
-- @include send-messages
local due, member, home, away = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
for i = 2, #KEYS do redis.call('LLEN', KEYS[i]) end -- a key of a wrong type must raise before the first write
if away ~= '' then redis.call('SELECT', away) end
local removed = redis.call('ZREM', due, member)
if away ~= '' then redis.call('SELECT', home) end
if removed == 0 then return 0 end
send_messages(4)
return 1
