#!lua flags=allow-oom
-- unique-step.lua: what becomes of a lock where no settlement says it: by hand, by a purge, before a body starts, after an early ack.
-- KEYS[1] the lock  KEYS[2] all locks by their end  KEYS[3] parked messages of the queue  KEYS[4] queues with parked messages  KEYS[5] list
-- ARGV[1] name  ARGV[2] id of the task, '' for whoever holds it  ARGV[3] free | keep | own  ARGV[4] ms | worker  ARGV[5] queue
-- Returns the id that held it, or ''.
-- @include end-unique

local held = redis.call('HGET', KEYS[1], 'id') or ''
local id = ARGV[2] == '' and held or ARGV[2]
end_unique(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], id, ARGV[3], ARGV[4], ARGV[5])
return held
