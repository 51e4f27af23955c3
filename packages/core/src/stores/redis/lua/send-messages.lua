-- send-messages.lua, included by others: pushes and publishes what ARGV tells from `at` on: how many messages, then for each its list as an index
-- in KEYS and its envelope, or 0, a channel and an envelope.
local function send_messages(at)
  local messages = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, messages do
    if ARGV[at] == '0' then
      redis.pcall('PUBLISH', ARGV[at + 1], ARGV[at + 2])
      at = at + 3
    else
      redis.call('LPUSH', KEYS[tonumber(ARGV[at])], ARGV[at + 1])
      at = at + 2
    end
  end
end
