-- Records that a replica is alive, and counts the replicas that were recorded recently.
--
-- KEYS[1]  the sorted set of replicas, by the time of their last record, in milliseconds of Redis' clock
-- ARGV     the replica's name; how long a record is valid, in milliseconds
-- Returns  the number of replicas with a valid record
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holds = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%d', now), ARGV[1])
-- Also removes records from the future, which a step back of the clock leaves behind.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now - holds))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%d', now + holds), '+inf')
redis.call('PEXPIRE', KEYS[1], string.format('%d', 10 * holds))
return redis.call('ZCARD', KEYS[1])
