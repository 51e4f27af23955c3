#!lua flags=allow-oom
-- add-part.lua: store the result of a chord's member and register its part, for a member without a loan.
-- KEYS[1] due groups  KEYS[2] open groups  KEYS[3] parts (.j)  KEYS[4] added later (.t)  KEYS[5] size (.s)  KEYS[6] Lovage's hash of the group
-- KEYS[7] result, if it is kept
-- ARGV[1] group  ARGV[2] task id  ARGV[3] place or +inf  ARGV[4] part  ARGV[5] seconds to live or 0  ARGV[6] root, newline, priority  ARGV[7] body
-- ARGV[8] seconds of the result  ARGV[9] its document
-- Returns 1 for the part that completed the group, which is due then, else 0.
-- @include store-result
-- @include register-part
if KEYS[7] then store(KEYS[7], ARGV[8], ARGV[9]) end
return register_part(3, KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]) and 1 or 0
