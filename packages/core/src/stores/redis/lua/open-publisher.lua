#!lua flags=allow-oom
-- open-publisher.lua: make a connection the one that a publisher publishes through, and tell which batches got through before.
-- KEYS[1] batches of the publisher    ARGV[1] new epoch    ARGV[2] how long it is remembered, ms
-- Returns names and values: `born`, the epoch that made the hash; slots and batch numbers. What is there of an older `born` was forgotten.
-- Invariant: what an older connection still sends is not executed any more.
redis.call('HDEL', KEYS[1], '') -- before Redis 7 a script that has written is not stopped by a full memory
redis.call('HSETNX', KEYS[1], 'born', ARGV[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGETALL', KEYS[1])
