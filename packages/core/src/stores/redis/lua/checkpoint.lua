#!lua flags=allow-oom
-- checkpoint.lua: put an envelope with other headers in the place of one on loan.
-- KEYS[1] loans of the worker  ARGV[1] loan  ARGV[2] envelope
-- Returns 1, or 0 when the loan is gone: then nothing is written.
-- Invariant: who returns the loan (sweep, release, put back) returns what stands there; a loan is written for as long as it is one.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
