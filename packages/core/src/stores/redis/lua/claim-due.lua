-- claim-due.lua: groups that are due and that nobody has ended in time become the caller's for a while.
-- KEYS[1] due groups  ARGV[1] where to go on, 0 at first  ARGV[2] groups at most  ARGV[3] how long they are the caller's, ms
-- Returns where to go on, then groups. One call looks at a bounded number of them.
local due, cursor, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local claimed, looked = {}, 0
repeat
  local page = redis.call('HSCAN', due, cursor, 'COUNT', 100)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    local from, rest = string.match(page[2][i + 1], '^(%d+)(\n.*)$')
    looked = looked + 1
    if from and tonumber(from) <= now_ms and #claimed < most then
      redis.call('HSET', due, page[2][i], string.format('%.0f', now_ms + tonumber(ARGV[3])) .. rest)
      claimed[#claimed + 1] = page[2][i]
    end
  end
until cursor == '0' or #claimed >= most or looked >= 1000
table.insert(claimed, 1, cursor)
return claimed
