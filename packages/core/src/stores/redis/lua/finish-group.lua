#!lua flags=allow-oom
-- finish-group.lua: end a group that is due, together with what follows from that.
-- KEYS[1] due groups  KEYS[2] open groups  KEYS[3..7] saved group, parts (.j), added later (.t), size (.s), Lovage's hash of the group  KEYS[8..7+lists] lists that are
-- pushed to, then results and keys of groups around this one
-- ARGV[1] group  ARGV[2] database of the lists  ARGV[3] of the results, '' when the same  ARGV[4] lists
-- ARGV[5] number of results, for each: key, seconds to live or 0, document; number of parts, for each: first of its four keys, group, task, place,
-- part, seconds, root and priority, body; number of messages, for each: list envelope, or 0 channel envelope. Keys are given by their index.
-- Returns nothing when the group was not due any more: then nothing was done; else 1 and the groups that these parts completed.
-- Invariant: removing the record is the last write but for what is of no use without it.
-- @include store-result
-- @include register-part
-- @include send-messages
local due, open, group, home, away = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
for i = 8, 7 + tonumber(ARGV[4]) do redis.call('LLEN', KEYS[i]) end -- what can raise comes before the first write
if away ~= '' then redis.call('SELECT', away) end
if redis.call('HEXISTS', due, group) == 0 then
  if away ~= '' then redis.call('SELECT', home) end
  return {}
end
local answer, at = { '1' }, 6
for _ = 1, tonumber(ARGV[5]) do
  store(KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end
local parts = tonumber(ARGV[at])
at = at + 1
for _ = 1, parts do
  if register_part(tonumber(ARGV[at]), due, open, unpack(ARGV, at + 1, at + 7)) then answer[#answer + 1] = ARGV[at + 1] end
  at = at + 8
end
if away ~= '' then redis.call('SELECT', home) end
send_messages(at)
if away ~= '' then redis.call('SELECT', away) end
redis.call('HDEL', due, group)
redis.call('ZREM', open, group)
redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
if away ~= '' then redis.call('SELECT', home) end
return answer
